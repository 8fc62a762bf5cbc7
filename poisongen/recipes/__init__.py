"""Recipes that ship with the package: the paper's settings, as YAML files with their sources."""
