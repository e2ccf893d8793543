"""Reads the bytes of members in the order of samples: from a disk, a bucket or a cache."""
