"""Many methods, many seeds, one table."""
