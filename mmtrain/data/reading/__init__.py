"""From an order of samples to the bytes of their members."""
