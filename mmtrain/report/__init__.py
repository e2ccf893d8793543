"""A web page about runs, in one file that needs nothing else."""

from mmtrain.report.render import write

__all__ = ["write"]
