"""Outcome of a clip. The driver of a build handles it, and must not load decoders for that."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from mmprep.failure import Failure

if TYPE_CHECKING:
    # A decoding process starts in less time without what writes shards.
    from mmprep.format import Payload


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A sample in memory.

    Attributes:
        payload: Bytes of the files of each part, in the order of the tar.
        seconds: Seconds that each stage took.
    """

    payload: "Payload"
    seconds: dict[str, float]


Outcome: TypeAlias = Sample | Failure
