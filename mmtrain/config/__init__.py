"""The configuration of a run: defaults, recipes, overrides."""
