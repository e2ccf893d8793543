"""Streams mmprep's shards into training with the methods that balance modalities."""
