"""Folders of runs, read for the report."""
