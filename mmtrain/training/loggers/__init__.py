"""Loggers: they show the metrics of a run elsewhere, while it trains."""
