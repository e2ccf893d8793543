"""Descriptions of data sets, readers of their official lists, and the search for their clips."""
