"""The run: epochs, steps, checkpoints, ranks, and what it writes."""
