"""Decodes sources to arrays: one open of a file gives its frame times, pictures and sound."""
