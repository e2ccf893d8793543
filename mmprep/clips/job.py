"""What every task of a build shares, wherever it runs."""

from dataclasses import dataclass

from mmprep.config import PartsConfig
from mmprep.storage.place import Raw


@dataclass(frozen=True, kw_only=True)
class Job:
    """Everything a task needs besides its rows; small, and the same on every machine.

    Attributes:
        out: Folder or URL of the data set.
        endpoint: Of an S3-compatible server, where it is not in the environment; for both.
        raw: Folder with the clips, or URL of a bucket's prefix.
        config: Parts and their parameters.
        decoder: ``pyav`` or ``decord``.
        clip_timeout_s: Seconds after which a clip is given up.
    """

    out: str
    endpoint: str | None
    raw: Raw
    config: PartsConfig
    decoder: str = "pyav"
    clip_timeout_s: float = 60.0
