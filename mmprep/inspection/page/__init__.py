"""A finished data set on one web page that needs nothing but itself."""

from mmprep.inspection.page.render import render

__all__ = ["render"]
