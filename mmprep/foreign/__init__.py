"""Data sets of tars that other tools wrote: an index for them, and no copy."""
