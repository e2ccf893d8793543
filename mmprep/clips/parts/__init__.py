"""Makers of the parts of a sample, one module for each kind: arrays in, bytes out."""
