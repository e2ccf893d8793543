"""What a training run is: frozen, checked, and written into RUN/config.json.

Needs the standard library only, for the command line reads its defaults here.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Final, Self, TypeAlias

from mmprep.storage.redact import redacted
from mmtrain.errors import ConfigError, UnknownName

Value: TypeAlias = bool | int | float | str | tuple[str, ...] | None

DEVICES: Final = ("auto", "cpu", "cuda")
PRECISIONS: Final = ("fp32", "bf16")
OPTIMIZERS: Final = ("sgd", "adamw")
SCHEDULES: Final = ("constant", "step", "cosine", "plateau")
CROPS: Final = ("random-resized-crop", "random-crop", "resize")
SELECTS: Final = ("accuracy", "map", "macro_f1")
# What is chosen by name, and may have parameters of its own.
CHOICES: Final = ("method", "curriculum", "fusion", "encoder")
# How a run runs. A resumed run may have others, for they do not change what it computes.
FREE: Final = (
    *("data", "endpoint", "anonymous", "cache", "cache_size", "skip_corrupt"),
    *("device", "workers", "save_every_steps"),
)
_NULLABLE: Final = ("clip", "workers", "scores", "endpoint", "cache")


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """The optimizer. The defaults are those that most of the papers share.

    Attributes:
        name: ``sgd`` or ``adamw``.
        lr: Rate at the start, after warm-up.
        momentum: Of SGD.
        weight_decay: L2 in SGD, decoupled in AdamW.
        clip: Largest norm of all gradients together; None does not clip.
    """

    name: str = "sgd"
    lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 1e-4
    clip: float | None = None

    def __post_init__(self) -> None:
        _among("optimizer", self.name, OPTIMIZERS)
        _require(self.lr > 0, f"lr is above 0; got {self.lr}")
        _require(0 <= self.momentum < 1, f"momentum is in [0, 1); got {self.momentum}")
        _require(self.weight_decay >= 0, f"weight_decay is at least 0; got {self.weight_decay}")
        _require(self.clip is None or self.clip > 0, f"clip is above 0; got {self.clip}")


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """How the rate changes; it is the same within an epoch.

    Attributes:
        name: ``constant``; ``step`` multiplies by ``gamma`` every ``every`` epochs; ``cosine``
            falls to 0 over the run; ``plateau`` multiplies by ``gamma`` when the loss on val (on
            train where there is no val) has not fallen for more than ``patience`` epochs.
        every: Epochs.
        gamma: Factor, in (0, 1].
        patience: Epochs.
        warmup: Epochs of a linear rise before the first at full rate.
    """

    name: str = "step"
    every: int = 70
    gamma: float = 0.1
    patience: int = 10
    warmup: int = 0

    def __post_init__(self) -> None:
        _among("schedule", self.name, SCHEDULES)
        _require(self.every >= 1, f"schedule.every is at least 1; got {self.every}")
        _require(0 < self.gamma <= 1, f"gamma is in (0, 1]; got {self.gamma}")
        _require(self.patience >= 0, f"patience is at least 0; got {self.patience}")
        _require(self.warmup >= 0, f"warmup is at least 0; got {self.warmup}")


@dataclass(frozen=True, kw_only=True)
class ViewConfig:
    """How pictures are shown, see `mmtrain.data.View`.

    Attributes:
        frames: Frames of a clip.
        size: Side of the square picture in pixels.
        crop: ``random-resized-crop``, ``random-crop`` or ``resize``.
        flip: Mirror every second clip in training.
    """

    frames: int = 3
    size: int = 224
    crop: str = "random-resized-crop"
    flip: bool = True

    def __post_init__(self) -> None:
        _among("crop", self.crop, CROPS)
        _require(self.frames >= 1, f"frames is at least 1; got {self.frames}")
        _require(self.size >= 1, f"size is at least 1; got {self.size}")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One run.

    Attributes:
        data: Folder or address of the shards.
        endpoint: Address of the server of an S3-compatible bucket; the environment's for None.
        anonymous: Read a public bucket without credentials.
        cache: Folder on a local disk that keeps what a bucket gave, for later epochs and runs.
        cache_size: Bytes of that folder.
        skip_corrupt: Leave damaged samples out, and count them, in place of stopping.
        method: Name in METHODS.
        curriculum: Name in CURRICULA.
        fusion: Name in FUSIONS.
        encoder: Name in ENCODERS, for every modality.
        modalities: What to train on; empty is all that the data set lists.
        epochs: Passes over the order of the curriculum.
        batch_size: Samples a step, of all ranks together.
        seed: Of everything that is drawn.
        scores: The `scores.h5` of another run, from which a curriculum that scores starts.
        device: ``cuda`` where there is one, for ``auto``.
        precision: ``bf16`` computes the encoders so; weights stay float32.
        workers: Threads that decode; one a core for None.
        select: The measure on val by which the tested epoch is chosen; then the loss on val.
        save_every_steps: Steps between checkpoints; one is written after every epoch anyway.
        optimizer: The optimizer.
        schedule: How its rate changes.
        view: How pictures are shown.
        settings: ``method``, ``curriculum``, ``fusion`` or ``encoder`` to its parameters.
    """

    data: str
    endpoint: str | None = None
    anonymous: bool = False
    cache: str | None = None
    cache_size: int = 20_000_000_000
    skip_corrupt: bool = False
    method: str = "joint"
    curriculum: str = "uniform"
    fusion: str = "concat"
    encoder: str = "resnet18"
    modalities: tuple[str, ...] = ()
    epochs: int = 100
    batch_size: int = 64
    seed: int = 0
    scores: str | None = None
    device: str = "auto"
    precision: str = "fp32"
    workers: int | None = None
    select: str = "accuracy"
    save_every_steps: int = 500
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    view: ViewConfig = field(default_factory=ViewConfig)
    settings: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _among("device", self.device, DEVICES)
        _among("precision", self.precision, PRECISIONS)
        _among("select", self.select, SELECTS)
        for choice in self.settings:
            _among("choice with settings", choice, CHOICES)
        for name in ("epochs", "batch_size", "save_every_steps", "cache_size"):
            value = getattr(self, name)
            _require(value >= 1, f"{name} is at least 1; got {value}")
        _require(self.workers is None or self.workers >= 1, "workers is at least 1")
        _require(0 <= self.seed < 2**63, f"seed is in [0, 2^63); got {self.seed}")
        twice = len(set(self.modalities)) < len(self.modalities)
        _require(not twice, f"a modality is named twice: {', '.join(self.modalities)}")

    def to_json(self) -> str:
        """The file's text, without passwords in addresses."""
        plain = asdict(self)
        for name in ("data", "endpoint"):
            plain[name] = plain[name] and redacted(plain[name])
        return json.dumps(plain, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str, place: str) -> Self:
        """The config that `to_json` wrote.

        Args:
            text: The file's text.
            place: Its name, for messages.

        Raises:
            ConfigError: Not JSON, or a field that is not ours or has a wrong type.
        """
        try:
            plain = json.loads(text)
            made: Self = _made(cls, plain)
        # Over a file that somebody else made: RecursionError in json, AttributeError and KeyError
        # where a value is of another type.
        except (
            *(ValueError, TypeError, ArithmeticError, AttributeError),
            *(LookupError, RecursionError, ConfigError),
        ) as error:
            raise ConfigError(f"{place}: not the config of a run: {error}") from error
        return made

    def changed(self, changes: Mapping[str, Any]) -> Self:
        """The config with other values.

        Args:
            changes: ``epochs``, or ``optimizer.lr`` for a field of a section.
        """
        own = {name: value for name, value in changes.items() if "." not in name}
        for name, value in changes.items():
            section, dot, key = name.partition(".")
            if dot and section in CHOICES:
                settings = own.setdefault("settings", dict(self.settings))
                settings[section] = {**settings.get(section, {}), key: value}
            elif dot:
                own[section] = replace(own.get(section, getattr(self, section)), **{key: value})
        return replace(self, **own)

    def differences(self, other: Self) -> list[str]:
        """One line for each value that makes ``other`` another run."""
        mine, theirs = _flat(asdict(self)), _flat(asdict(other))
        return [
            f"{name} {mine.get(name)!r} -> {theirs.get(name)!r}"
            for name in dict.fromkeys((*mine, *theirs))
            if mine.get(name) != theirs.get(name) and name not in FREE
        ]


_SECTIONS: Final[Mapping[str, Any]] = {
    "optimizer": OptimizerConfig,
    "schedule": ScheduleConfig,
    "view": ViewConfig,
}


def keys() -> dict[str, type]:
    """What `TrainConfig.changed` takes, choices' parameters apart, to the type of its value."""
    found: dict[str, type] = {}
    for each in fields(TrainConfig):
        if each.name in _SECTIONS:
            section = fields(_SECTIONS[each.name])
            found |= {f"{each.name}.{f.name}": _plain_type(f.type) for f in section}
        elif each.name != "settings":
            found[each.name] = _plain_type(each.type)
    return found


def parse(name: str, text: str, kind: type) -> Value:
    """The value that ``text`` stands for.

    Raises:
        ConfigError: It is not of the type.
    """
    if kind is str:
        return text
    if kind is tuple or kind is list:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    try:
        value: Value = json.loads(text.lower())
    except ValueError:
        value = text
    return _checked(name, value, kind)


def _checked(name: str, value: Value, kind: type) -> Value:
    if kind is object or (value is None and name.rpartition(".")[2] in _NULLABLE):
        return value
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise ConfigError(f"{name} takes a value of type {kind.__name__}; got {value!r}")
    return value


def _plain_type(hint: object) -> type:
    """``float`` for ``float | None``, ``tuple`` for ``tuple[str, ...]``."""
    text = hint.__name__ if isinstance(hint, type) else str(hint)
    plain = {"bool": bool, "int": int, "float": float, "str": str, "tuple": tuple}
    return plain[text.partition("[")[0].partition(" ")[0]]


def _made(kind: Any, plain: Mapping[str, Any]) -> Any:
    known = {f.name: f for f in fields(kind)}
    if strange := sorted(set(plain) - set(known)):
        raise ConfigError(f"unknown fields {', '.join(strange)}; written by another version?")
    values: dict[str, Any] = {}
    for name, value in plain.items():
        if name in _SECTIONS and kind is TrainConfig:
            values[name] = _made(_SECTIONS[name], value)
        elif name == "modalities":
            _require(_is_list_of_text(value), f"modalities is a list of names; got {value!r:.60}")
            values[name] = tuple(value)
        elif name == "settings":
            values[name] = {choice: dict(settings) for choice, settings in value.items()}
        else:
            values[name] = _checked(name, value, _plain_type(known[name].type))
    return kind(**values)


def _is_list_of_text(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _flat(plain: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in plain.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = list(value) if isinstance(value, tuple) else value
    return flat


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise ConfigError(message)


def _among(what: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise UnknownName(what, name, known)
