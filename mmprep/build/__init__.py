"""Turns a request into shards: plans, runs the tasks, publishes; repairs and copies data sets."""
