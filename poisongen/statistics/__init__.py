"""What a dataset holds, class by class, and how much of it a recipe could poison."""
