"""Config of a training run: frozen, checked, and written into RUN/config.json.

Needs no more than the standard library and our tables, because the command line reads its defaults
here.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Final, Self

from mmprep.assignments import Value
from mmprep.storage.access import RETRY_FOR_S
from mmprep.storage.redact import redacted
from mmtrain.config.values import Kind, checked, flat, kind_of
from mmtrain.errors import ConfigError, UnknownName
from mmtrain.fields import above, at_least, between, check_fields, one_of
from mmtrain.models.catalog import encoder_for
from mmtrain.tasks.measures import SELECTS

DEVICES: Final = ("auto", "cpu", "cuda")
PRECISIONS: Final = ("fp32", "bf16")
OPTIMIZERS: Final = ("sgd", "adamw")
# Loggers, each a module of `mmtrain.training.loggers` and an extra of the package.
LOGGERS: Final = ("tensorboard", "wandb", "mlflow", "trackio")
SCHEDULES: Final = ("constant", "step", "cosine", "plateau")
# Name of the tokenizer that needs no file.
BYTES: Final = "bytes"
CROPS: Final = ("random-resized-crop", "random-crop", "resize")
# Things that are chosen by name, and may have parameters of their own.
CHOICES: Final = ("method", "curriculum", "fusion", "encoder")
# Fields that do not change what a run computes: a resumed run may have other values.
FREE: Final = (
    *("data", "endpoint", "anonymous", "retry_for_s", "cache", "cache_size"),
    *("skip_corrupt", "allow_changed"),
    *("device", "workers", "save_every_steps", "probe_every", "compile", "log"),
)


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """The optimizer. The defaults are those that most of the papers share.

    Attributes:
        name: ``sgd`` or ``adamw``.
        lr: Learning rate at the start, after warm-up.
        momentum: Momentum of SGD.
        weight_decay: Weight decay: L2 in SGD, decoupled in AdamW.
        clip: Largest norm of all gradients together; None does not clip.
    """

    name: str = one_of(*OPTIMIZERS, kind="optimizer")
    lr: float = above(0, default=0.01)
    momentum: float = between(0, 1, ends="[)", default=0.9)
    weight_decay: float = at_least(0, default=1e-4)
    clip: float | None = above(0, default=None)

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """Schedule of the learning rate, which stays the same within an epoch.

    Attributes:
        name: ``constant``; ``step`` multiplies by ``gamma`` every ``every`` epochs; ``cosine``
            falls to 0 over the run; ``plateau`` multiplies by ``gamma`` when the loss on val (on
            train where there is no val) has not fallen for more than ``patience`` epochs.
        every: Epochs between two steps.
        gamma: Factor of a step, in (0, 1].
        patience: Epochs without progress before a plateau's step.
        warmup: Epochs of a linear rise before the first at full rate.
    """

    name: str = one_of(*SCHEDULES, default="step", kind="schedule")
    every: int = at_least(1, default=70)
    gamma: float = between(0, 1, ends="(]", default=0.1)
    patience: int = at_least(0, default=10)
    warmup: int = at_least(0, default=0)

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class ViewConfig:
    """View of a clip's pictures, text and sequences, see `mmtrain.data.View`.

    Attributes:
        frames: Frames of a clip.
        size: Side of the square picture in pixels.
        crop: ``random-resized-crop``, ``random-crop`` or ``resize``.
        flip: Whether every second clip is mirrored in training.
        tokenizer: Tokenizer of texts: ``bytes`` for the bytes of UTF-8, or the path of a JSON file
            of the library `tokenizers`.
        length: Number of tokens of a text; longer ones are cut.
        steps: Number of steps of a feature sequence; longer ones are cut.
    """

    frames: int = at_least(1, default=3)
    size: int = at_least(1, default=224)
    crop: str = one_of(*CROPS)
    flip: bool = True
    tokenizer: str = BYTES
    length: int = at_least(1, default=128)
    steps: int = at_least(1, default=50)

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Config of one run.

    Attributes:
        data: Folder or address of the shards.
        endpoint: Address of the server of an S3-compatible bucket; the environment's for None.
        anonymous: Whether a public bucket is read without credentials.
        retry_for_s: Seconds for which a bucket's fault that may pass is waited out.
        cache: Folder on a local disk that keeps what was read from a bucket, for later epochs and
            runs.
        cache_size: Largest size of that folder in bytes.
        skip_corrupt: Whether damaged samples are left out and counted, in place of stopping.
        allow_changed: Whether the run goes on although the file of a plug-in or of the tokenizer
            has changed.
        task: Name in TASKS; None is the task that the data set is made for. Another works where
            the data have what it learns from: scores can be learnt as such, or as classes.
        method: Name in METHODS, or a plug-in.
        curriculum: Name in CURRICULA, or a plug-in.
        fusion: Name in FUSIONS, or a plug-in.
        encoder: Name in ENCODERS, or a plug-in: encoder of every modality that has no other. A
            modality of a kind that it does not take has the default of its kind.
        encoders: Modality to its encoder, where that is another one.
        modalities: Modalities to train on; empty stands for all that the data set lists.
        epochs: Passes over the order of the curriculum.
        batch_size: Samples in a step, over all ranks.
        accumulate: Batches of that size that make one step together: a step is of so many times the
            samples, with the memory of one batch of them and the time of another forward pass.
        seed: Seed of every random draw.
        scores: File `scores.h5` of another run, from which a curriculum that scores starts.
        init: Folder of another run, or of an export, whose weights this one starts from.
        init_sha256: SHA-256 of these weights when the run began.
        device: Device to compute on; ``auto`` is ``cuda`` where there is one.
        precision: Precision of the encoders, ``fp32`` or ``bf16``; weights stay float32.
        compile: Whether the encoders are compiled.
        workers: Threads that decode; one a core for None.
        select: Measure on val by which the tested epoch is chosen; ties go to the lower loss. Where
            the task has no accuracy, the default is its first measure.
        save_every_steps: Steps between checkpoints; one is written after every epoch anyway.
        probe_every: Epochs between two linear probes of the encoders, which probes.jsonl takes and
            training does not feel; 0 for none. Each costs a pass over train and val.
        log: Loggers that show the metrics elsewhere while the run trains, from LOGGERS.
        optimizer: The optimizer.
        schedule: Schedule of its rate.
        view: View of pictures, texts and sequences.
        settings: ``method``, ``curriculum``, ``fusion``, ``encoder`` or, for a single modality,
            such as ``encoder.audio`` to its parameters.
        plugins: File of each plug-in, and of the tokenizer, to its SHA-256 when the run began.
    """

    data: str
    endpoint: str | None = None
    anonymous: bool = False
    retry_for_s: float = at_least(0, default=RETRY_FOR_S)
    cache: str | None = None
    cache_size: int = at_least(1, default=20_000_000_000)
    skip_corrupt: bool = False
    allow_changed: bool = False
    task: str | None = None
    method: str = "joint"
    curriculum: str = "uniform"
    fusion: str = "concat"
    encoder: str = "resnet18"
    encoders: Mapping[str, str] = field(default_factory=dict)
    modalities: tuple[str, ...] = ()
    epochs: int = at_least(1, default=100)
    batch_size: int = at_least(1, default=64)
    accumulate: int = at_least(1, default=1)
    seed: int = 0
    scores: str | None = None
    init: str | None = None
    init_sha256: str | None = None
    device: str = one_of(*DEVICES)
    precision: str = one_of(*PRECISIONS)
    compile: bool = False
    workers: int | None = at_least(1, default=None)
    select: str = one_of(*SELECTS)
    save_every_steps: int = at_least(1, default=500)
    probe_every: int = at_least(0, default=0)
    log: tuple[str, ...] = ()
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    view: ViewConfig = field(default_factory=ViewConfig)
    settings: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    plugins: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_fields(self)
        for choice in self.settings:
            if not _has_settings(choice):
                raise UnknownName("choice with settings", choice, CHOICES)
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"seed is in [0, 2^63); got {self.seed}")
        for name in self.log:
            if name not in LOGGERS:
                raise UnknownName("logger", name, LOGGERS)
        if len(set(self.modalities)) < len(self.modalities):
            raise ConfigError(f"a modality is named twice: {', '.join(self.modalities)}")

    @property
    def step_size(self) -> int:
        """Samples of a step, over all ranks."""
        return self.batch_size * self.accumulate

    @property
    def chosen(self) -> tuple[str, ...]:
        """Names of everything that is chosen: method, curriculum, fusion, encoders and task."""
        task = (self.task,) if self.task else ()
        return (*(getattr(self, choice) for choice in CHOICES), *self.encoders.values(), *task)

    def encoder_of(self, modality: str) -> str:
        """Name of the encoder of ``modality``."""
        return self.encoders.get(modality) or encoder_for(modality, self.encoder)

    def encoder_settings(self, modality: str) -> Mapping[str, Value]:
        """Parameters of the encoder of ``modality``, in a config that is `resolved`."""
        return self.settings.get(f"encoder.{modality}", self.settings["encoder"])

    def only(self, modality: str) -> Self:
        """Config of a run on ``modality`` alone, with its encoder; of one that is `resolved`."""
        own = {"encoder": self.encoder_settings(modality)}
        others = {c: v for c, v in self.settings.items() if not c.startswith("encoder")}
        return replace(
            self,
            modalities=(modality,),
            encoder=self.encoder_of(modality),
            encoders={},
            settings={**others, **own},
        )

    def to_json(self) -> str:
        """Text of config.json, without passwords in addresses."""
        plain = asdict(self)
        for name in ("data", "endpoint"):
            plain[name] = plain[name] and redacted(plain[name])
        return json.dumps(plain, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str, place: str) -> Self:
        """The config that `to_json` wrote.

        Args:
            text: Text of the file.
            place: Name of the file, for messages.

        Raises:
            ConfigError: Not JSON, or a field that is not ours or has a wrong type.
        """
        try:
            config: Self = _read(cls, json.loads(text))
        # Over a file that somebody else made: RecursionError in json, AttributeError and KeyError
        # where a value is of another type.
        except (
            *(ValueError, TypeError, ArithmeticError, AttributeError),
            *(LookupError, RecursionError, ConfigError),
        ) as error:
            raise ConfigError(f"{place}: not the config of a run: {error}") from error
        return config

    def changed(self, changes: Mapping[str, Any]) -> Self:
        """The config with other values.

        Args:
            changes: Key to value. A key is a field, such as ``epochs``; the field of a section,
                such as ``optimizer.lr``; the parameter of a choice, such as ``method.alpha`` or
                ``encoder.audio.width``; or ``encoders.audio``.
        """
        own = {name: value for name, value in changes.items() if "." not in name}
        for name, value in changes.items():
            section, dot, key = name.rpartition(".")
            if dot and _has_settings(section):
                settings = own.setdefault("settings", dict(self.settings))
                settings[section] = {**settings.get(section, {}), key: value}
            elif section == "encoders":
                own[section] = {**own.get(section, self.encoders), key: value}
            elif dot:
                own[section] = replace(own.get(section, getattr(self, section)), **{key: value})
        return replace(self, **own)

    def differences(self, other: Self) -> list[str]:
        """One line for each value that makes ``other`` another run."""
        mine, theirs = flat(asdict(self)), flat(asdict(other))
        lines = []
        for name in dict.fromkeys((*mine, *theirs)):
            before, now = mine.get(name), theirs.get(name)
            if before == now or name in FREE:
                continue
            if not name.startswith("plugins."):
                lines.append(f"{name} {before!r} -> {now!r}")
            elif before and now and not other.allow_changed:
                # A file that only one of them has is seen by the choice that names it.
                lines.append(changed_file(name.removeprefix("plugins."), before, now))
        return lines


def changed_file(path: str, before: str, now: str) -> str:
    """Message that the file of a plug-in has changed, with both digests and the way out."""
    return (
        f"{path} has changed since the run began, from SHA-256 {before} to {now} "
        "(--allow-changed goes on with it)"
    )


SECTIONS: Final[Mapping[str, Any]] = {
    "optimizer": OptimizerConfig,
    "schedule": ScheduleConfig,
    "view": ViewConfig,
}
# Mappings, which have no key of their own: their values do.
_MAPPINGS: Final = ("encoders", "settings", "plugins")
_LISTS: Final = ("modalities", "log")


def keys() -> dict[str, Kind]:
    """Keys that `TrainConfig.changed` takes, parameters of choices apart, to kinds of value."""
    kinds: dict[str, Kind] = {}
    for each in fields(TrainConfig):
        if each.name in SECTIONS:
            section = fields(SECTIONS[each.name])
            kinds |= {f"{each.name}.{f.name}": kind_of(f.type) for f in section}
        elif each.name not in _MAPPINGS:
            kinds[each.name] = kind_of(each.type)
    return kinds


def _has_settings(choice: str) -> bool:
    return choice in CHOICES or choice.startswith("encoder.")


def _read(kind: Any, plain: Mapping[str, Any]) -> Any:
    """An instance of ``kind`` with the values of JSON."""
    known = {f.name: f for f in fields(kind)}
    if strange := sorted(set(plain) - set(known)):
        raise ConfigError(f"unknown fields {', '.join(strange)}; written by another version?")
    values: dict[str, Any] = {}
    for name, value in plain.items():
        if name in SECTIONS and kind is TrainConfig:
            values[name] = _read(SECTIONS[name], value)
        elif name in _LISTS and kind is TrainConfig:
            if not _is_list_of_text(value):
                raise ConfigError(f"{name} is a list of names; got {value!r:.60}")
            values[name] = tuple(value)
        elif name == "settings":
            values[name] = {choice: _settings(own) for choice, own in value.items()}
        elif name in _MAPPINGS:
            values[name] = dict(value)
        else:
            values[name] = checked(name, value, kind_of(known[name].type))
    return kind(**values)


def _settings(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of a choice; JSON has lists where they are tuples."""
    return {name: tuple(v) if isinstance(v, list) else v for name, v in plain.items()}


def _is_list_of_text(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)
