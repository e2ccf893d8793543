"""Encoders, fusions, and the model that joins them."""
