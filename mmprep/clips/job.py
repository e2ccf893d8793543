"""Settings that all tasks of a build share, on whichever machine they run."""

from dataclasses import dataclass

from mmprep.config import PartsConfig
from mmprep.storage.place import Raw


@dataclass(frozen=True, kw_only=True)
class Job:
    """Everything that a task needs besides its rows; small, and equal on every machine.

    Attributes:
        out: Folder or URL of the data set.
        endpoint: Address of an S3-compatible server that holds ``out`` and ``raw``; None takes it
            from the environment.
        raw: Folder with the clips, or URL of a bucket's prefix.
        config: Parts of each sample and their parameters.
        decoder: Decoder of the pictures, ``pyav`` or ``decord``.
        clip_timeout_s: Seconds after which the decoding of a clip is given up.
    """

    out: str
    endpoint: str | None
    raw: Raw
    config: PartsConfig
    decoder: str = "pyav"
    clip_timeout_s: float = 60.0
