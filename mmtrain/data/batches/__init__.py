"""Turns the bytes of members into batches of tensors."""
