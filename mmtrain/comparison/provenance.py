"""Where numbers come from: data, code, seeds and command, for captions and notes."""

import shlex
from collections.abc import Sequence

from mmprep.storage.redact import redacted
from mmprep.version import VERSION
from mmtrain.training.history import command_line, commit


def facts_of(place: str, root: str, seeds: Sequence[int]) -> dict[str, str]:
    """Name of each fact to its text.

    Args:
        place: Place of the shards.
        root: Their root hash.
        seeds: Seeds of the runs.
    """
    checkout = commit()
    code = f"mmtrain {VERSION}" + (f", commit {checkout}" if checkout else "")
    return {
        "data": redacted(place),
        "data root": root,
        "version": code,
        "seeds": ", ".join(map(str, seeds)),
        "command": " ".join(map(shlex.quote, command_line())),
    }
