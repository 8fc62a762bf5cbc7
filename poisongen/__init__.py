"""Poisoned datasets for semantic segmentation: the Influencer Backdoor Attack, offline and recorded."""

__version__ = "0.1.0"
