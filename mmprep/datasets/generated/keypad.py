"""The `keypad` data set: 1,797 moving handwritten digits, each with the tones of its phone key.

It shows the imbalance between modalities within minutes on a CPU, where real videos take hours and
most small data sets have no imbalance. The sound is two steady sine waves that name the digit, so
it is learnt in a few epochs; but its noise differs from clip to clip, and drowns the tones of the
noisiest. The picture, a small digit anywhere on a dark grainy screen, takes longer, and is equally
clear in all clips. Both are needed: a jointly trained model relies on the sound, learns little from
the picture, and fails where the sound is drowned.

The pictures are scikit-learn's `load_digits`. The clips are MP4 files with H.264 and AAC, so that
they pass through the same code as any real video::

    RAW/keypad.json              parameters of the clips; written first
    RAW/train/7/digit0007.mp4    one clip for each picture; val and test likewise
    RAW/keypad.csv               the manifest; written last, when all clips are there

The manifest has the noise of each clip, which the build copies into the clip's record, so that
accuracy by noise can be drawn and scores of samples can be checked. The bytes of a clip depend on
its number, the seed, the range of the noise and the installed FFmpeg only.

PyAV and scikit-learn are imported inside functions: they take two seconds, too long for a
command's ``--help``.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from itertools import zip_longest
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mmprep.assignments import parse_value
from mmprep.errors import ConfigError, UnknownName
from mmprep.manifest import Row, read_csv, write_csv

COUNT: Final = 1797
VAL: Final = 30  # clips of each digit
MOST_TEST: Final = 120  # clips of each digit, of at least 174, so that some remain for train
SECONDS: Final = 2
FPS: Final = 25
RATE_HZ: Final = 16_000
CELL: Final = 4  # pixels of the screen for each of the picture's 8x8
SIDE: Final = 96  # three digits wide, so that places differ, and whole macroblocks of 16
SPEED: Final = (20.0, 60.0)  # pixels a second
DARK, LIGHT, GRAIN = 0.15, 0.65, 0.1  # brightness of the screen, of the digit on it, of the grain
KEYS: Final = "123456789*0#"
ROWS_HZ: Final = (697, 770, 852, 941)
COLUMNS_HZ: Final = (1209, 1336, 1477)

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """Parameters of a folder of clips, as `keypad.json` holds them.

    Attributes:
        noise: Lowest and highest standard deviation of a clip's white noise, in amplitudes of one
            sine wave; each clip's is drawn between them, log-uniformly. Equal ones are that of all.
        test: Number of test clips of each digit; val has 30, and train the rest.
        seed: Seed of splits, paths, texture and noise.
        limit: Number of clips, the first of `plan`, balanced in splits and digits; None for all.
        recipe: Version of the clips, raised by each change of this module that alters them.
    """

    noise: tuple[float, float] = (3.0, 60.0)
    test: int = 60
    seed: int = 0
    limit: int | None = None
    recipe: int = 2

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ConfigError(f"keypad's seed is 0 or more; got {self.seed}")
        low, high = self.noise
        if not 0 <= low <= high <= 1000 or (low == 0 < high):
            raise ConfigError(
                "keypad's noise is one number of amplitudes, 0 to 1000, or a lowest above 0 and a "
                f"highest; got {low:g} and {high:g}"
            )
        if not 1 <= self.test <= MOST_TEST:
            raise ConfigError(f"keypad's test is 1 to {MOST_TEST} clips a digit; got {self.test}")
        if self.limit is not None and self.limit < 1:
            raise ConfigError(f"keypad's limit is 1 clip or more; got {self.limit}")

    def noise_of(self, number: int) -> float:
        """Noise of a clip, to four digits."""
        low, high = self.noise
        if low == high:
            return low
        # A generator of its own: path and grain are the same whatever the range of the noise.
        share = np.random.default_rng([self.seed, number, 1]).random()
        return float(f"{low * (high / low) ** share:.4g}")


@dataclass(frozen=True, kw_only=True)
class Clip:
    """Digit and split of a picture of `load_digits`.

    Attributes:
        number: Index of the picture in `load_digits`.
        digit: Digit that it shows.
        split: ``train``, ``val`` or ``test``.
    """

    number: int
    digit: int
    split: str

    @property
    def key(self) -> str:
        """Key of the clip's sample."""
        return f"digit{self.number:04}"

    @property
    def video(self) -> str:
        """Path of the clip in the folder of all clips."""
        return f"{self.split}/{self.digit}/{self.key}.mp4"

    def row(self, noise: float) -> Row:
        """Line of the manifest for the clip, whose noise is ``noise``."""
        return Row(
            key=self.key,
            label=str(self.digit),
            split=self.split,
            sources={"video": self.video},
            extra={"noise": f"{noise:g}"},
        )


def generate(
    raw: Path,
    settings: Mapping[str, str],
    *,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Writes the clips as `write_clips` does, with parameters from the command line.

    Args:
        raw: Folder of the clips.
        settings: Text of each parameter that is not the default: ``noise`` is a number, or the
            lowest and the highest with a comma between; ``test`` and ``seed`` are whole numbers.
        workers: Number of threads.
        progress: Called after each clip with the numbers of finished clips and of all clips.

    Raises:
        ConfigError: A parameter is out of range, or ``raw`` holds clips made with other ones.
        UnknownName: There is no such parameter.
    """
    return write_clips(raw, parameters_from(settings), workers=workers, progress=progress)


def parameters_from(settings: Mapping[str, str]) -> Parameters:
    """Parameters from the texts of ``--set clips.NAME=VALUE``, see `generate`."""
    known = [field.name for field in fields(Parameters) if field.name != "recipe"]
    values: dict[str, Any] = {}
    for name, text in settings.items():
        if name not in known:
            raise UnknownName("parameter of keypad's clips", name, known)
        kind, most, example = (float, 2, "3 or 3,60") if name == "noise" else (int, 1, "30")
        numbers = [parse_value(part.strip(), kind) for part in text.strip("[]").split(",")]
        if len(numbers) > most or not all(type(number) is kind for number in numbers):
            raise ConfigError(f"--set clips.{name}={text}: it is a number, such as {example}")
        values[name] = (numbers[0], numbers[-1]) if name == "noise" else numbers[0]
    return Parameters(**values)


def write_clips(
    raw: Path,
    parameters: Parameters = Parameters(),
    *,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Writes the clips that do not exist yet, then the manifest, and returns the manifest's path.

    If a call is killed, the next one continues it and ends with the same bytes.

    Args:
        raw: Folder of the clips; it is created if it does not exist.
        parameters: Parameters of the clips.
        workers: Number of threads; they run in parallel, because encoding releases the
            interpreter's lock.
        progress: Called after each clip with the numbers of finished clips and of all clips.

    Raises:
        ConfigError: ``workers`` is out of range, or ``raw`` holds clips of other parameters.
    """
    if workers < 1:
        raise ConfigError(f"keypad is written by one or more workers; got {workers}")
    if parameters.limit is not None and parameters.limit >= COUNT:
        parameters = replace(parameters, limit=None)
    manifest = raw / "keypad.csv"
    _claim(raw, parameters)
    if manifest.exists() and all((raw / row.source).exists() for row in read_csv(manifest)):
        return manifest
    manifest.unlink(missing_ok=True)

    labels, pictures = _digits()
    clips = plan(labels, parameters)[: parameters.limit]
    missing = [clip for clip in clips if not (raw / clip.video).exists()]
    write = partial(_write, raw, parameters)
    with ThreadPoolExecutor(workers) as pool:
        wanted = (pictures[clip.number] for clip in missing)
        for done, _ in enumerate(pool.map(write, missing, wanted), len(clips) - len(missing) + 1):
            if progress:
                progress(done, len(clips))

    aside = manifest.with_suffix(".partial")
    write_csv([clip.row(parameters.noise_of(clip.number)) for clip in clips], aside)
    aside.replace(manifest)
    return manifest


def plan(labels: npt.NDArray[np.int64], parameters: Parameters) -> list[Clip]:
    """Assigns the pictures to splits, digit by digit, by the seed and the number of test clips.

    Clips are ordered so that the first N of them, for any N, are as balanced in splits and digits
    as all of them.
    """
    # [seed, number] is the generator of a clip.
    rng = np.random.default_rng([parameters.seed, COUNT])
    decks = [rng.permutation(np.flatnonzero(labels == digit)).tolist() for digit in range(10)]
    hands: dict[str, list[Clip]] = defaultdict(list)
    for turn, numbers in enumerate(zip_longest(*decks)):
        split = "val" if turn < VAL else "test" if turn < VAL + parameters.test else "train"
        hands[split] += [
            Clip(number=number, digit=digit, split=split)
            for digit, number in enumerate(numbers)
            if number is not None
        ]
    places = [((i + 0.5) / len(hand), c) for hand in hands.values() for i, c in enumerate(hand)]
    return [clip for _, clip in sorted(places, key=itemgetter(0))]


def tone(digit: int, rate_hz: int, seconds: float) -> Floats:
    """Sum of the two tones of the phone key ``digit``, each of amplitude 1 (ITU-T Q.23)."""
    row, column = divmod(KEYS.index(str(digit)), len(COLUMNS_HZ))
    t = np.arange(round(rate_hz * seconds)) / rate_hz
    low, high = (np.sin(2 * np.pi * hz * t) for hz in (ROWS_HZ[row], COLUMNS_HZ[column]))
    return (low + high).astype(np.float32)


def add_noise(rng: np.random.Generator, wave: Floats, noise: float) -> Floats:
    """Adds white noise to ``wave`` and scales the sum: six standard deviations stay within +-1."""
    noisy = wave + noise * rng.standard_normal(len(wave), dtype=np.float32)
    return (noisy / (2 + 6 * noise)).astype(np.float32)


def path(rng: np.random.Generator, frames: int, room: float) -> Floats:
    """Places (y, x) in ``[0, room]`` for each frame: constant speed, reflected by the walls.

    They are a straight line, folded: ``room - |p mod 2 room - room|``.

    Returns:
        Pixels, (frames, 2).
    """
    start = rng.uniform(0, room, 2)
    angle = rng.uniform(0, 2 * np.pi)
    velocity = rng.uniform(*SPEED) / FPS * np.array([np.sin(angle), np.cos(angle)])
    straight = start + velocity * np.arange(frames)[:, None]
    return (room - np.abs(straight % (2 * room) - room)).astype(np.float32)


def draw_frames(rng: np.random.Generator, picture: Floats, corners: Floats) -> Pixels:
    """Draws ``picture`` with its top left corner at ``corners``, on a screen with a fixed grain.

    Interpolation is bilinear, so that a digit can lie between pixels: frame = Wy picture Wx^T,
    where W has the weight of each of the picture's 8 rows or columns for each of the screen's. The
    grain does not move, because a new one for each frame would take four times the bytes.

    Args:
        rng: Generator of the grain.
        picture: Picture (8, 8), in [0, 1].
        corners: Corners (y, x) in pixels, (frames, 2).

    Returns:
        Luma of limited range, (frames, SIDE, SIDE).
    """
    cells = (np.arange(SIDE) + 0.5 - corners[..., None]) / CELL - 0.5
    weights = np.maximum(0, 1 - np.abs(cells[..., None] - np.arange(8)))
    digit = weights[:, 0] @ picture @ weights[:, 1].swapaxes(1, 2)
    brightness = DARK + LIGHT * digit + GRAIN * rng.standard_normal((SIDE, SIDE))
    luma: Pixels = (16 + 219 * brightness.clip(0, 1)).round().astype(np.uint8)
    return luma


def encode(to: Path, frames: Pixels, sound: Floats) -> None:
    """Writes an MP4 with H.264 and AAC; its bytes depend on the arguments only."""
    import av

    with av.open(str(to), "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        # zerolatency: x264's lookahead reads memory it never wrote, so bytes differ between runs.
        options = {"preset": "veryfast", "tune": "zerolatency"}
        video = container.add_stream("libx264", rate=FPS, options=options)
        video.height, video.width = frames.shape[1:]
        video.pix_fmt = "yuv420p"
        video.thread_count = 1
        audio = container.add_stream("aac", rate=RATE_HZ, layout="mono")
        audio.bit_rate = 64_000
        grey = np.full((SIDE // 2, SIDE), 128, np.uint8)  # both colour planes of 4:2:0
        for number, luma in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.concatenate([luma, grey]), format="yuv420p")
            frame.pts = number
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        samples = av.AudioFrame.from_ndarray(sound[None], format="fltp", layout="mono")
        samples.sample_rate = RATE_HZ
        samples.pts = 0
        container.mux(audio.encode(samples))
        container.mux(audio.encode(None))


def _write(raw: Path, parameters: Parameters, clip: Clip, picture: Floats) -> None:
    rng = np.random.default_rng([parameters.seed, clip.number])
    frames = draw_frames(rng, picture, path(rng, SECONDS * FPS, SIDE - 8 * CELL))
    noise = parameters.noise_of(clip.number)
    sound = add_noise(rng, tone(clip.digit, RATE_HZ, SECONDS), noise)
    final = raw / clip.video
    final.parent.mkdir(parents=True, exist_ok=True)
    aside = final.with_suffix(".partial")
    encode(aside, frames, sound)
    aside.replace(final)


def _claim(raw: Path, parameters: Parameters) -> None:
    """Writes `keypad.json`; refuses a folder with clips of other parameters."""
    note = raw / "keypad.json"
    ours = json.dumps(asdict(parameters)) + "\n"
    recorded = note.read_text(encoding="utf-8") if note.exists() else None
    if recorded is None and (raw / "keypad.csv").exists():
        recorded = "parameters that nothing records"
    if recorded is None:
        raw.mkdir(parents=True, exist_ok=True)
        aside = note.with_suffix(".partial")
        aside.write_text(ours, encoding="utf-8")
        aside.replace(note)
    elif recorded != ours:
        raise ConfigError(
            f"{raw} holds keypad clips made with {recorded.strip()}, not with {ours.strip()}; "
            "ask for the same, give another --raw, or delete that folder"
        )


def _digits() -> tuple[npt.NDArray[np.int64], Floats]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    return digits.target, (digits.images / 16).astype(np.float32)
