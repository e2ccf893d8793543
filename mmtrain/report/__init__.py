"""Runs on one web page that needs nothing but itself."""

from mmtrain.report.render import write

__all__ = ["write"]
