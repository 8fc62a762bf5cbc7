"""The clean dataset: its files, its samples' labels, and what lies beside them. Nothing here writes."""
