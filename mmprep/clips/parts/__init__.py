"""What a sample is made of: one module a part, arrays in, bytes out."""
