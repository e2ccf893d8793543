"""Sources to arrays: one open of a file gives its frame times, its pictures and its sound."""
