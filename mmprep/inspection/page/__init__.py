"""A web page about a finished data set, in one file that needs nothing else."""

from mmprep.inspection.page.assemble import data_set_page

__all__ = ["data_set_page"]
