"""Data: TFRecord files, training examples, batches, augmentation, jumps, splits, collections."""
