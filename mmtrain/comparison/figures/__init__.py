"""Figures of a study for print: one module a kind, each with a line in `catalog.FIGURES`."""
