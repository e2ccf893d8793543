"""From one clip to one sample, in worker processes that may die."""
