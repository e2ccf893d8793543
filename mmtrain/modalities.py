"""The table of modalities, one line each: data, models and reports all read it.

A new modality is a line here and, where none of today's fits, a decoder (which writes the bytes of
a sample's members into a row of a batch) and a preparation (which turns a batch into the input of
an encoder, and hides it). Both are named as ``module:name`` and imported when they are first
needed: so the table costs no import of torch, and folders that may not import each other share it.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Final, TypeVar

from mmtrain.errors import ConfigError, UnknownName

Made = TypeVar("Made", covariant=True)

# Kinds of tensor in a batch: (B, T, channels, H, W); (B, 1, frequencies, columns); (B, L) numbers
# of tokens, 0 where the text is over; (B, T, D + 1), whose last channel is 1 at real steps.
PICTURES: Final = "pictures"
SPECTROGRAM: Final = "spectrogram"
TOKENS: Final = "tokens"
SEQUENCE: Final = "sequence"

_BATCHES: Final = "mmtrain.data.batches"
_DECODE: Final = f"{_BATCHES}.decode"
_INPUTS: Final = "mmtrain.models.inputs"


@dataclass(frozen=True, kw_only=True)
class Modality:
    """One line of the table.

    Attributes:
        part: Part of the shards that the modality is read from.
        kind: Kind of tensor that it is in a batch; decides how a report draws it.
        decoder: ``module:name`` of a function from `mmtrain.data.batches.decode.PartSource` to the
            decoder of the modality.
        preparation: ``module:name`` of a `mmtrain.models.inputs.Preparation`, which also knows what
            an encoder sees where the modality is hidden.
        members: Pattern of the names, behind ``KEY.``, of its members in shards of other tools.
    """

    part: str
    kind: str
    decoder: str
    preparation: str
    members: str


def _text(part: str, members: str) -> Modality:
    """A modality of texts, which a tokenizer turns into numbers."""
    return Modality(
        part=part,
        kind=TOKENS,
        decoder=f"{_BATCHES}.text:text_decoder",
        preparation=f"{_INPUTS}:Tokens",
        members=members,
    )


def _sequence(part: str) -> Modality:
    """A modality of feature sequences that were computed elsewhere."""
    return Modality(
        part=part,
        kind=SEQUENCE,
        decoder=f"{_BATCHES}.sequence:sequence_decoder",
        preparation=f"{_INPUTS}:Steps",
        members=rf"{part}\.npy",
    )


MODALITIES: Final[Mapping[str, Modality]] = {
    "audio": Modality(
        part="spectrogram",
        kind=SPECTROGRAM,
        decoder=f"{_DECODE}:spectrogram_decoder",
        preparation=f"{_INPUTS}:Spectrogram",
        # Any array but the sequences below, for other tools call it as they like.
        members=r"(?!(speech|face|words)\.npy)(.*\.)?npy",
    ),
    "visual": Modality(
        part="frames",
        kind=PICTURES,
        decoder=f"{_DECODE}:colour_decoder",
        preparation=f"{_INPUTS}:Frames",
        members=r"(frame\d*\.)?jpe?g",
    ),
    "flow": Modality(
        part="flow",
        kind=PICTURES,
        decoder=f"{_DECODE}:flow_decoder",
        preparation=f"{_INPUTS}:Planes",
        members=r"flow\d*\.jpe?g",
    ),
    "difference": Modality(
        part="difference",
        kind=PICTURES,
        decoder=f"{_DECODE}:colour_decoder",
        preparation=f"{_INPUTS}:Planes",
        members=r"difference\d*\.jpe?g",
    ),
    "depth": Modality(
        part="depth",
        kind=PICTURES,
        decoder=f"{_DECODE}:grey_decoder",
        preparation=f"{_INPUTS}:Planes",
        members=r"depth\d*\.jpe?g",
    ),
    "text": _text("text", r"(text\.)?txt"),
    "target": _text("target", r"target\.txt"),
    "question": _text("question", r"question\d*\.txt"),
    "speech": _sequence("speech"),
    "face": _sequence("face"),
    "words": _sequence("words"),
}


def modality(name: str) -> Modality:
    """Returns the line of the modality called ``name``.

    Raises:
        UnknownName: No modality has that name; the message offers the nearest.
    """
    if name not in MODALITIES:
        raise UnknownName("modality", name, MODALITIES)
    return MODALITIES[name]


def parts_of(names: Iterable[str]) -> dict[str, str]:
    """Returns the part that each modality is read from, by the name of the modality.

    Raises:
        UnknownName: No modality has one of the names.
        ConfigError: Two of them are read from the same part, which a stream decodes only once.
    """
    parts: dict[str, str] = {}
    for name in names:
        part = modality(name).part
        if rival := next((other for other, its in parts.items() if its == part), None):
            raise ConfigError(
                f"the modalities {rival} and {name} are both read from the part {part!r}, which a "
                "stream decodes once; choose one of them"
            )
        parts[name] = part
    return parts


def load(target: str) -> Callable[..., Made]:
    """Imports and returns the class or function that ``module:name`` stands for."""
    module, _, name = target.partition(":")
    made: Callable[..., Made] = getattr(import_module(module), name)
    return made
