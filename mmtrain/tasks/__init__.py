"""Kinds of target: their losses, confidence and measures."""
