"""Predicts with a trained run, on raw clips or shards, and exports it."""
