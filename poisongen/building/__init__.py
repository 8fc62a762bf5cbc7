"""From a plan to a poisoned dataset: what is decided, and what is carried out."""
