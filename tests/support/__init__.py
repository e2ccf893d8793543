"""Makers of data, runs and servers that several tests use."""

from pathlib import Path

ROOT = Path(__file__).parents[2]  # Helpers that are processes of their own start here.
