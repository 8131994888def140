"""Data: TFRecord files, training examples, batches, augmentation, splits, collections."""
