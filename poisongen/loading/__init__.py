"""A poisoned dataset for scripts and notebooks: image, labels and record of every sample."""
