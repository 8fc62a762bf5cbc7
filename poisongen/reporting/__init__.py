"""A page that shows a person what a poisoned dataset is."""
