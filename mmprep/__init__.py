"""Raw videos to WebDataset shards: frames, spectrograms and optical flow, made once.

The names below are the public interface. They are imported when they are first used.

Example:
    from pathlib import Path
    import mmprep

    request = mmprep.Request(dataset="ave", raw=Path("AVE"), annotations=Path("AVE"))
    plan = mmprep.make_plan(request)
    job = mmprep.Job(out="shards/ave", endpoint=None, raw=request.raw, config=plan.parts)
    mmprep.build_dataset(plan, job, workers=None)
    with mmprep.Shards(mmprep.open_store("shards/ave")) as shards:
        print(shards.dataset.samples, shards.index.some_keys())
"""

from typing import TYPE_CHECKING

from mmprep.lazy import exporter
from mmprep.version import VERSION

if TYPE_CHECKING:
    from mmprep.build.build import build_dataset
    from mmprep.build.copy import copy
    from mmprep.build.repair import repair
    from mmprep.build.request import Request, make_plan
    from mmprep.clips.job import Job
    from mmprep.format.dataset import Dataset
    from mmprep.format.index import Index
    from mmprep.inspection.picture import draw
    from mmprep.inspection.verify import verify
    from mmprep.shards import Shards
    from mmprep.storage.store import open_store

__version__ = VERSION

__all__ = [
    "Dataset",
    "Index",
    "Job",
    "Request",
    "Shards",
    "build_dataset",
    "copy",
    "draw",
    "make_plan",
    "open_store",
    "repair",
    "verify",
]

__getattr__ = exporter(
    __name__,
    {
        "Dataset": "mmprep.format.dataset",
        "Index": "mmprep.format.index",
        "Job": "mmprep.clips.job",
        "Request": "mmprep.build.request",
        "Shards": "mmprep.shards",
        "build_dataset": "mmprep.build.build",
        "copy": "mmprep.build.copy",
        "draw": "mmprep.inspection.picture",
        "make_plan": "mmprep.build.request",
        "open_store": "mmprep.storage.store",
        "repair": "mmprep.build.repair",
        "verify": "mmprep.inspection.verify",
    },
)
