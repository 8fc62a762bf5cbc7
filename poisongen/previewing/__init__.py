"""A look at what a recipe would do."""
