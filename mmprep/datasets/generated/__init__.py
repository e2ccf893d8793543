"""Data sets that are made here, for which nothing need be downloaded."""
