"""Stages in which the modalities of a run take turns."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Final, NamedTuple

from mmtrain.errors import ConfigError

_TURNS: Final = 4  # of each modality in a run, unless lengths are given


class Turn(NamedTuple):
    """Modality whose turn an epoch is.

    Attributes:
        place: Place of the modality among all.
        first: Whether its stage starts with the epoch.
        last: Whether its stage ends with the epoch.
    """

    place: int
    first: bool
    last: bool


def stages(text: str, modalities: int, planned: int) -> list[int]:
    """Number of epochs of each modality's stages.

    Args:
        text: One number, or one for each modality with commas between; empty gives every modality
            four turns.
        modalities: Number of modalities.
        planned: Epochs of the run.

    Raises:
        ConfigError: No such numbers, or as many as fit neither.
    """
    if not text:
        return [max(1, planned // (_TURNS * modalities))] * modalities
    parts = text.split(",")
    lengths = [int(part) for part in parts if part.strip().isdecimal() and int(part) > 0]
    if len(lengths) != len(parts) or len(lengths) not in (1, modalities):
        raise ConfigError(
            f"stage_epochs is a number of epochs, such as 5, or {modalities} with commas "
            f"between, one for each modality; got {text!r}"
        )
    return lengths * (modalities // len(lengths))


def turn(epoch: int, lengths: Sequence[int]) -> Turn:
    """The turn of ``epoch``; stages of ``lengths`` epochs follow each other over and over."""
    at = epoch % sum(lengths)
    ends = [*accumulate(lengths)]
    place = next(i for i, end in enumerate(ends) if at < end)
    return Turn(place, at == ends[place] - lengths[place], at == ends[place] - 1)
