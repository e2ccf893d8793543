"""From the bytes of members to batches of tensors."""
