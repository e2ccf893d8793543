"""Parameters of the parts: frozen, checked, and written into `dataset.json`."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final, Self

from mmprep.errors import ConfigError, UnknownName
from mmprep.format.parts import PARTS

RECIPES: Final = ("psd", "stft", "fbank")
FLOWS: Final = ("dis", "tvl1")
# All of a picture, see `FrameConfig.region`.
WHOLE: Final = "0,1,0,1"
# Seconds of a window of `fbank`, which Kaldi does not take from the parameters.
_FBANK_WINDOW_S: Final = 0.025
# Latin-1 takes all bytes, so that no text of a data set that allows it fails.
FALLBACKS: Final = ("", "latin-1")
DTYPES: Final = ("float16", "float32")


@dataclass(frozen=True, kw_only=True)
class FrameConfig:
    """Parameters of JPEG frames.

    Attributes:
        fps: Frames a second, each from the middle of its interval.
        short_side: Pixels of the shorter side; pictures are enlarged or reduced to it.
        quality: Quality of the JPEG, 1 to 100.
        square: Whether pictures stored with other pixels are stretched to square ones.
        region: Region of the upright picture that is kept, before it is scaled: left, right, top
            and bottom edge as fractions of its width and height. It holds for flow as well.
            A text, because `dataset.json` has single values only.
    """

    fps: float = 1.0
    short_side: int = 256
    quality: int = 90
    square: bool = True
    region: str = WHOLE

    def __post_init__(self) -> None:
        # Written in one way, so that 1 and 1.0 are the same bytes of `dataset.json`.
        region = ",".join(f"{edge:g}" for edge in _edges("frames.region", self.region))
        object.__setattr__(self, "region", region)
        _check_range("frames.fps", self.fps, 0.01, 1000)
        _check_range("frames.short_side", self.short_side, 8, 4096)
        _check_range("frames.quality", self.quality, 1, 100)

    @property
    def edges(self) -> tuple[float, ...]:
        """Left, right, top and bottom edge of the region, as numbers."""
        return _edges("frames.region", self.region)


@dataclass(frozen=True, kw_only=True)
class SpectrogramConfig:
    """Parameters of log spectrograms, see `mmprep.clips.parts.spectrogram`.

    Attributes:
        recipe: Formula: ``psd`` (scipy), ``stft`` (librosa) or ``fbank`` (torchaudio's Kaldi filter
            bank).
        rate_hz: Sample rate of the mono sound.
        window: Samples in a window, which gives ``window // 2 + 1`` frequencies.
        overlap: Samples that neighbouring windows share; 353 of 512 give a hop of 159.
        mels: Number of mel bins of ``fbank``.
        columns: Number of columns of ``fbank``, which is padded with zeros or cut to it.
    """

    recipe: str = "psd"
    rate_hz: int = 16_000
    window: int = 512
    overlap: int = 353
    mels: int = 128
    columns: int = 1024

    def __post_init__(self) -> None:
        if self.recipe not in RECIPES:
            raise UnknownName("spectrogram recipe", self.recipe, RECIPES)
        _check_range("spectrogram.rate_hz", self.rate_hz, 1000, 192_000)
        _check_range("spectrogram.window", self.window, 16, 65_536)
        _check_range("spectrogram.overlap", self.overlap, 0, self.window - 1)
        _check_range("spectrogram.mels", self.mels, 1, 512)
        _check_range("spectrogram.columns", self.columns, 1, 100_000)


@dataclass(frozen=True, kw_only=True)
class FlowConfig:
    """Parameters of optical flow: ``fields`` pairs of (u, v) planes at each frame time.

    Attributes:
        algorithm: Algorithm: ``dis`` (fast) or ``tvl1`` (slow; older papers used it).
        fields: Number of fields between consecutive pictures at each frame time (``L`` of papers).
        bound: Largest motion in pixels; u and v are clipped to +-bound and stored in 8 bits.
        short_side: Pixels of the shorter side at which flow is computed.
        quality: Quality of the JPEG, 1 to 100.
        square: Whether pictures stored with other pixels are stretched to square ones.
    """

    algorithm: str = "dis"
    fields: int = 1
    bound: float = 20.0
    short_side: int = 256
    quality: int = 90
    square: bool = True

    def __post_init__(self) -> None:
        if self.algorithm not in FLOWS:
            raise UnknownName("flow algorithm", self.algorithm, FLOWS)
        _check_range("flow.fields", self.fields, 1, 64)
        _check_range("flow.bound", self.bound, 0.1, 1000)
        _check_range("flow.short_side", self.short_side, 8, 4096)
        _check_range("flow.quality", self.quality, 1, 100)


@dataclass(frozen=True, kw_only=True)
class AudioConfig:
    """Parameters of the sound from which spectrograms are made.

    Attributes:
        babble_db: Ratio of a clip's own sound to babble in dB, both as root mean squares over the
            clip; -5 makes the babble 5 dB louder. None mixes in nothing.
        babble_clips: Number of other clips of the same split whose sounds make the babble, all
            equally loud. A hash of the keys draws them, see `mmprep.build.voices`.
    """

    babble_db: float | None = None
    babble_clips: int = 3

    def __post_init__(self) -> None:
        if self.babble_db is not None:
            _check_range("audio.babble_db", self.babble_db, -60, 60)
        _check_range("audio.babble_clips", self.babble_clips, 1, 32)


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """Parameters of texts, see `mmprep.clips.parts.text`.

    Attributes:
        empty: Whether a text of no characters, or of blanks alone, is a text; otherwise its clip
            fails.
        fallback: Encoding of files that are not UTF-8, ``latin-1``; without one, their clips fail.
    """

    empty: bool = False
    fallback: str = ""

    def __post_init__(self) -> None:
        if self.fallback not in FALLBACKS:
            raise UnknownName("fallback of texts", self.fallback, FALLBACKS)


@dataclass(frozen=True, kw_only=True)
class SequenceConfig:
    """Parameters of feature sequences, see `mmprep.clips.parts.sequence`.

    Attributes:
        dtype: Type of the stored numbers: ``float16`` or ``float32``.
    """

    dtype: str = "float32"

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise UnknownName("type of sequences", self.dtype, DTYPES)


@dataclass(frozen=True, kw_only=True)
class PartsConfig:
    """Parts of a sample, and the parameters of each.

    Attributes:
        names: Names of parts (see `mmprep.format.parts`), in the order of a sample's files.
        clip_s: Seconds of a clip: sound is looped or cut to it, and frames stop there. At least
            one window of the spectrogram.
        missing_audio: Treatment of a clip without sound: ``fail``, or ``silence`` in its place.
        frames: Parameters of frames, differences and depth.
        spectrogram: Parameters of spectrograms.
        flow: Parameters of optical flow.
        audio: Parameters of the sound from which spectrograms are made.
        text: Parameters of texts, targets and questions.
        sequence: Parameters of the feature sequences of speech, face and words.
    """

    names: tuple[str, ...] = ("frames", "spectrogram")
    clip_s: float = 10.0
    missing_audio: str = "fail"
    frames: FrameConfig = field(default_factory=FrameConfig)
    spectrogram: SpectrogramConfig = field(default_factory=SpectrogramConfig)
    flow: FlowConfig = field(default_factory=FlowConfig)
    audio: AudioConfig = field(default_factory=AudioConfig)
    text: TextConfig = field(default_factory=TextConfig)
    sequence: SequenceConfig = field(default_factory=SequenceConfig)

    def __post_init__(self) -> None:
        for name in self.names:
            if name not in PARTS:
                raise UnknownName("part", name, PARTS)
        if not self.names or len(set(self.names)) != len(self.names):
            raise ConfigError(
                f"parts are one or more different names; got {', '.join(self.names)!r}"
            )
        _check_range("clip_s", self.clip_s, 0.01, 3600)
        if "spectrogram" in self.names:
            self._check_window()
        if self.missing_audio not in ("fail", "silence"):
            raise ConfigError(f"missing_audio is fail or silence; got {self.missing_audio!r}")

    def _check_window(self) -> None:
        sound = self.spectrogram
        window_s = _FBANK_WINDOW_S if sound.recipe == "fbank" else sound.window / sound.rate_hz
        if self.clip_s < window_s:
            raise ConfigError(
                f"clip_s is {self.clip_s:g}, shorter than one window of the spectrogram; choose "
                f"{window_s:g} or more, or a smaller spectrogram.window"
            )

    def to_json(self) -> dict[str, Any]:
        """Plain values of the parameters on which the parts in use depend.

        Others are left out, so that a new default of theirs changes no root hash. Left out where
        they are off: ``square``, because data sets from before it kept the stored pixels, and the
        younger ``region`` and ``audio``.
        """
        plain = asdict(self)
        for table in ("frames", "flow"):
            if not plain[table]["square"]:
                del plain[table]["square"]
        if self.frames.region == WHOLE:
            del plain["frames"]["region"]
        used = {table for name in self.names for table in PARTS[name].settings}
        if "spectrogram" in used and self.audio.babble_db is not None:
            used.add("audio")
        if "flow" in used and "frames" not in used:
            # Flow is computed at the times of the frames, and in their region.
            plain["frames"] = _changed(plain["frames"], {"fps": FrameConfig.fps, "region": None})
            if plain["frames"]:
                used.add("frames")
        for table in {*_TABLES} - used:
            del plain[table]
        return {**plain, "names": list(self.names)}

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> Self:
        """Inverts `to_json`; parameters that are absent take their defaults.

        Raises:
            ConfigError: A parameter is unknown or out of range.
        """
        known = {f.name for f in fields(cls)}
        if unknown := set(plain) - known:
            raise ConfigError(
                f"unknown parameter {sorted(unknown)[0]!r}; known: {', '.join(sorted(known))}"
            )
        values = {k: _TABLES[k](**v) if k in _TABLES else v for k, v in plain.items()}
        if "names" in values:
            values["names"] = tuple(values["names"])
        return cls(**values)


def complete_stored(plain: Any) -> Any:
    """Adds parameters that are younger than the data set or plan from which ``plain`` was read.

    Older builds kept the storage size of pictures, whatever the shape of their pixels.
    """
    if not isinstance(plain, dict):
        return plain
    older = {"square": False}
    return {
        name: {**older, **values}
        if name in ("frames", "flow") and isinstance(values, dict)
        else values
        for name, values in plain.items()
    }


# Parameters that stand in a table of their own; `mmprep.format.parts` names the parts they change.
_TABLES: Final = {
    "frames": FrameConfig,
    "spectrogram": SpectrogramConfig,
    "flow": FlowConfig,
    "audio": AudioConfig,
    "text": TextConfig,
    "sequence": SequenceConfig,
}


def _changed(table: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Values of a table that are named in ``defaults`` and differ from it."""
    return {n: table[n] for n, default in defaults.items() if table.get(n, default) != default}


def _edges(name: str, region: str) -> tuple[float, ...]:
    """Numbers of a region.

    Raises:
        ConfigError: They are no region.
    """
    try:
        left, right, top, bottom = map(float, region.strip("[]").split(","))
    except (ValueError, AttributeError):
        left = right = top = bottom = 0.0
    if 0 <= left < right <= 1 and 0 <= top < bottom <= 1:
        return left, right, top, bottom
    raise ConfigError(
        f"{name} is the left, right, top and bottom edge as fractions of the picture, such as "
        f'"0.25,0.75,0.5,1"; got {region!r}'
    )


def _check_range(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ConfigError(f"{name} is {low:g} to {high:g}; got {value:g}")
