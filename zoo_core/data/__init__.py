"""Data of the user: image files, MNIST's IDX files, class labels."""
