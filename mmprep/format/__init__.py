"""The format on disk: tar members, the index, `dataset.json`. Needs numpy, h5py, crc32c.

    OUT/dataset.json  index.h5  failures.jsonl  train/000000.tar ...

Both sides of the project meet here and nowhere else: mmprep writes it, mmtrain reads it.
"""

from typing import TYPE_CHECKING, Final

from mmprep.lazy import exporter

if TYPE_CHECKING:
    from mmprep.format.answer import Answer
    from mmprep.format.dataset import (
        DATASET,
        FAILURES,
        FORMAT_VERSION,
        INDEX,
        Dataset,
        ShardInfo,
        SplitInfo,
    )
    from mmprep.format.index import Index, Member
    from mmprep.format.index_writer import write_index
    from mmprep.format.tar import Payload, ShardWriter, crc32c, member_names, read_members

__all__ = [
    "DATASET",
    "FAILURES",
    "FORMAT_VERSION",
    "INDEX",
    "Answer",
    "Dataset",
    "Index",
    "Member",
    "Payload",
    "ShardInfo",
    "ShardWriter",
    "SplitInfo",
    "crc32c",
    "member_names",
    "read_members",
    "write_index",
]

_HOMES: Final = {
    "answer": ("Answer",),
    "index": ("Index", "Member"),
    "index_writer": ("write_index",),
    "tar": ("Payload", "ShardWriter", "crc32c", "member_names", "read_members"),
    "dataset": (
        *("DATASET", "FAILURES", "FORMAT_VERSION", "INDEX"),
        *("Dataset", "ShardInfo", "SplitInfo"),
    ),
}
# Lazily, because `mmprep.format.parts` is read for every `--help`, which must not wait for h5py.
__getattr__ = exporter(
    __name__, {name: f"{__name__}.{home}" for home, names in _HOMES.items() for name in names}
)
