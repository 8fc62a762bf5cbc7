"""The dataset in other forms, for trainers that take no folders."""
