"""Training and evaluation: the trainer, run directories, metrics and samples."""
