"""Failures of single clips: a closed list of causes, and the record in `failures.jsonl`.

`failures.jsonl` has one JSON object a line, with the fields of `Failure`: ``key``, ``label``,
``split``, ``source``, ``stage``, ``cause``, ``message``. A clip whose file was there has two more:
``task``, the path of its shard without suffix, and ``row``, the fields of `mmprep.manifest.Row`;
`mmprep repair` tries those again. They come first. Clips that had no file (``cause`` ``missing``)
come behind them and have neither; `mmprep build --extend` adds those that have one by then.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from mmprep.manifest import Listed, Row

CAUSES: Final[Mapping[str, str]] = {
    "missing": "no file under the official name",
    "empty": "the file has no bytes",
    "lfs-pointer": "a Git-LFS pointer in place of the media: run `git lfs pull`",
    "html-page": "a web page saved under a media name: download it again",
    "not-media": "no known container",
    "playlist": "a list of other files (HLS, DASH, concat, SDP), not the media",
    "encrypted": "streams under DRM encryption, which nothing here decrypts",
    "unsupported-codec": "a container that opens, with a stream that nothing here decodes",
    "no-video": "no picture where the data set needs one",
    "no-audio": "no sound where the data set needs it (see --missing-audio)",
    "truncated": "the file ends before its header says",
    "corrupt": "too much of the stream does not decode",
    "too-short": "under half a second, or under half of a shorter clip_s",
    "ends-early": "a whole video that ends before the listed times of its clip",
    "too-large": "more pixels or samples than a clip may have",
    "mixed-pictures": "pictures that change their shape on the way",
    "decode-timeout": "took longer than --clip-timeout",
    "decoder-crash": "the decoding process died",
    "outside-raw": "a link that leads out of --raw",
    "not-utf-8": "a text that is not UTF-8: the message names what it may be",
    "nul-byte": "a text with a NUL, where many programs would end it",
    "empty-text": "a text without letters (see --set text.empty)",
    "not-array": "no array of numbers, (steps, features), under the name of the source",
    "no-source": "the row names no source of a part, and the data set says nothing of lacking it",
    "unexpected": "an error that nobody foresaw: please report it with the message",
}


@dataclass(frozen=True, kw_only=True)
class Failure:
    """One clip that gave no sample.

    Attributes:
        key: Key of the sample.
        label: Class name.
        split: Name of the split.
        source: Path of the file relative to ``--raw``; the official name if no file was found.
        stage: Stage that failed: ``find``, ``open``, ``decode``, ``video``, ``audio`` or ``parts``.
        cause: Name of the cause in `CAUSES`.
        message: Observation in one sentence.
    """

    key: str
    label: str
    split: str
    source: str
    stage: str
    cause: str
    message: str

    @classmethod
    def of(cls, clip: "Row | Listed", source: str, stage: str, cause: str, message: str) -> Self:
        """Failure of ``clip``, from which key, label and split are taken."""
        return cls(
            key=clip.key,
            label=clip.label,
            split=clip.split,
            source=source,
            stage=stage,
            cause=cause,
            message=message,
        )


class ClipError(Exception):
    """Raised below `mmprep.clips.sample` if a clip cannot become a sample.

    Args:
        stage: Stage that failed, see `Failure`.
        cause: Name of the cause in `CAUSES`.
        message: Observation in one sentence.
    """

    def __init__(self, stage: str, cause: str, message: str) -> None:
        super().__init__(message)
        self.stage = stage
        self.cause = cause
        self.message = message

    # Exceptions are pickled by `args`, which holds the message alone.
    def __reduce__(self) -> tuple[type["ClipError"], tuple[str, str, str]]:
        return ClipError, (self.stage, self.cause, self.message)
