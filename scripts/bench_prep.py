"""How fast `mmprep build` is, beside decoding alone and beside the usual scripts.

Run from the repository::

    .venv/bin/python scripts/bench_prep.py

Everything is timed in turn on each clip, round after round, so that a busy machine slows all alike.
A figure is the median over the rounds, summed over the clips; a ratio is one of two such sums.
CPU is user and system time of this process and its children; wall is the clock. Ratios are of CPU
time, because other programs do not change it; only the two workers are judged by the clock.
"""

import json
import os
import platform
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Final, TypeAlias

import av
import click
import cv2
import decord
import numpy as np
from numpy.typing import NDArray
from scipy.io import wavfile
from scipy.signal import spectrogram

from mmprep.build import build
from mmprep.config import PartsConfig
from mmprep.decode import Clip
from mmprep.job import Job
from mmprep.keypad import write_clips
from mmprep.manifest import Row, write_csv
from mmprep.parts import frames as pictures
from mmprep.parts.flow import consecutive
from mmprep.pool import DecoderPool
from mmprep.prepare import Request, make_plan
from mmprep.sample import Sample, SampleMaker

MEDIA: Final = Path(__file__).resolve().parents[1] / ".." / "shared" / "media"
PATTERNS: Final = ("vggsound/*.mp4", "kinetics/train/*.mp4", "balanced_av/*/*.mp4")
SAMPLE: Final = PartsConfig()
WITH_FLOW: Final = PartsConfig(names=("frames", "spectrogram", "flow"))
BUILD_ROWS: Final = 240
BUILD_ROUNDS: Final = 2
MEMORY_MIB: Final = 1024

Spent: TypeAlias = NDArray[np.float64]  # [CPU, wall] milliseconds


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """A clip, and what the backend needs to be told.

    Attributes:
        path: The file.
        row: Its row, relative to the folder of clips.
        shown: Indices of the frames that a sample shows.
        near: The same and their successors, which flow needs.
        greys: Pairs of grey pictures between which flow is computed.
        pixels: Of a picture.
    """

    path: Path
    row: Row
    shown: tuple[int, ...]
    near: tuple[int, ...]
    greys: tuple[tuple[NDArray[np.uint8], NDArray[np.uint8]], ...]
    pixels: int


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of the table.

    Attributes:
        what: The measurement.
        cpu_ms: CPU milliseconds a clip.
        wall_ms: Milliseconds of the clock a clip.
        against: What ``ratio`` compares with, or a word in place of figures.
        ratio: Of the measurement to ``against``, or the reverse where more is better.
        target: Its limit, such as ``<= 1.30``; empty where nothing is asked.
        good: Whether it holds; None where nothing is asked or nothing was measured.
    """

    what: str = ""
    cpu_ms: float | None = None
    wall_ms: float | None = None
    against: str = ""
    ratio: float | None = None
    target: str = ""
    good: bool | None = None


def find_clips(folder: Path | None, spare: Path) -> tuple[Path, list[Path]]:
    """The folder of clips and the clips in it; writes keypad clips to ``spare`` without one."""
    if folder is None and not MEDIA.is_dir():
        write_clips(spare, limit=40)
        return spare, sorted(spare.glob("*/*/*.mp4"))
    root = (folder or MEDIA).resolve()
    clips = sorted(path for pattern in PATTERNS for path in root.glob(pattern))
    clips = clips or sorted(root.rglob("*.mp4"))
    if not clips:
        raise click.BadParameter(f"no .mp4 in {root}", param_hint="--clips")
    return root, clips


def prepared(root: Path, path: Path, number: int) -> Case:
    """Reads ``path`` into the page cache and finds which of its frames are wanted."""
    path.read_bytes()
    source = path.relative_to(root).as_posix()
    row = Row(key=f"clip{number}", label="any", split="train", sources={"video": source})
    with Clip(path, None, SAMPLE.clip_s, video=True, audio=False) as clip:
        at = pictures.instants(clip.duration_s, SAMPLE.frames.fps, SAMPLE.clip_s)
        shown = tuple(int(i) for i in pictures.on_display(clip.times, at))
        pairs = [consecutive(i, len(clip.times), 1) for i in shown]
        near = tuple(sorted({i for pair in pairs for i in pair}))
        found = clip.pictures(near)
    side = WITH_FLOW.flow.short_side
    grey = {i: pictures.resized(pictures.grey(found[i]), side) for i in near}
    height, width = found[near[0]].shape[:2]
    return Case(
        path=path,
        row=row,
        shown=shown,
        near=near,
        greys=tuple((grey[a], grey[b]) for a, b in pairs),
        pixels=height * width,
    )


def by_pyav(case: Case, wanted: Sequence[int]) -> None:
    """Decodes everything in one pass, as PyAV is used; wanted frames to RGB, sound to 16 kHz."""
    with av.open(str(case.path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        video.thread_type = "NONE"
        resampler = av.AudioResampler(format="s16", layout="mono", rate=16_000)
        number, chosen = 0, set(wanted)
        for frame in container.decode(video, audio):
            if isinstance(frame, av.AudioFrame):
                for piece in resampler.resample(frame):
                    piece.to_ndarray()
                continue
            if number in chosen:
                frame.to_ndarray(format="rgb24", threads=1)
            number += 1


def by_decord(case: Case, wanted: Sequence[int]) -> None:
    """Wanted frames and sound by decord, on one thread."""
    decord.VideoReader(str(case.path), num_threads=1).get_batch(list(wanted)).asnumpy()
    decord.AudioReader(str(case.path), sample_rate=16_000, mono=True)[:].asnumpy()


def by_clip(case: Case, wanted: Sequence[int]) -> None:
    """Wanted frames and sound by our reader, which skips what no wanted frame refers to."""
    with Clip(case.path, None, SAMPLE.clip_s, video=True, audio=True) as clip:
        clip.pictures(wanted)
        clip.sound(16_000)


def by_scripts(folder: Path, case: Case) -> None:
    """The usual scripts: ffmpeg for the frames, ffmpeg for the sound, scipy for the spectrogram."""
    quiet = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-threads", "1", "-i", str(case.path)]
    scale = "fps=1,scale='if(gt(iw,ih),-2,256)':'if(gt(iw,ih),256,-2)'"
    shots = ["-an", "-vf", scale, "-filter_threads", "1", "-threads", "1", "-q:v", "2"]
    wave = folder / "sound.wav"
    subprocess.run([*quiet, *shots, str(folder / "%03d.jpg")], check=True)
    subprocess.run([*quiet, "-vn", "-ac", "1", "-ar", "16000", str(wave)], check=True)
    rate_hz, sound = wavfile.read(wave)
    samples = np.resize(sound, 10 * rate_hz) / 32768
    _, _, power = spectrogram(samples, rate_hz, nperseg=512, noverlap=353)
    np.save(folder / "sound.npy", np.log(power + 1e-7))


def steps(root: Path, folder: Path) -> dict[str, Callable[[Case], object]]:
    """What is timed on each clip, in turn."""
    cv2.setNumThreads(1)
    decord.logging.set_level(decord.logging.FATAL)
    plain, moving = SampleMaker(root, SAMPLE), SampleMaker(root, WITH_FLOW)
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    timed: dict[str, Callable[[Case], object]] = {
        "pyav": lambda case: by_pyav(case, case.shown),
        "decord": lambda case: by_decord(case, case.shown),
        "reader": lambda case: by_clip(case, case.shown),
        "sample": lambda case: plain.make(case.row),
        "pyav, near": lambda case: by_pyav(case, case.near),
        "decord, near": lambda case: by_decord(case, case.near),
        "reader, near": lambda case: by_clip(case, case.near),
        "flow alone": lambda case: [dis.calc(a, b, None) for a, b in case.greys],
        "sample, flow": lambda case: moving.make(case.row),
    }
    if shutil.which("ffmpeg"):
        timed["scripts"] = partial(by_scripts, folder)
    return timed


def clocks() -> Spent:
    """CPU of this process and of its children that have ended, and the clock: milliseconds."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = time.process_time() + ended.ru_utime + ended.ru_stime
    return 1e3 * np.array([cpu, time.perf_counter()])


def timed_in_turn(
    cases: Sequence[Case], timed: Mapping[str, Callable[[Case], object]], rounds: int
) -> dict[str, Spent]:
    """Mean over the clips of the median over the rounds: [CPU, wall] milliseconds a clip."""
    spent = np.zeros((len(timed), len(cases), rounds + 1, 2))
    for turn in range(rounds + 1):
        for place, case in enumerate(cases):
            for number, step in enumerate(timed.values()):
                begin = clocks()
                step(case)
                spent[number, place, turn] = clocks() - begin
        progress(f"round {turn} of {rounds}" if turn else "warm")
    # Round 0 warms caches and lazy imports.
    means = np.median(spent[:, :, 1:], axis=2).mean(axis=1)
    return dict(zip(timed, means, strict=True))


@dataclass(frozen=True, kw_only=True)
class Built:
    """One build: what it spent a clip, and the share of time that its workers were at work."""

    spent: Spent
    busy: float


def built(root: Path, cases: Sequence[Case], folder: Path, workers: int) -> Built:
    """Builds a data set of `BUILD_ROWS` clips, the same few under many keys."""
    rows = [
        Row(key=f"k{n:04}", label="any", split="train", sources=cases[n % len(cases)].row.sources)
        for n in range(BUILD_ROWS)
    ]
    manifest, out = folder / "rows.csv", folder / "out"
    write_csv(rows, manifest)
    plan = make_plan(
        Request(dataset=None, raw=root, manifest=manifest, parts=("frames", "spectrogram"))
    )
    job = Job(out=str(out), endpoint=None, raw=root, config=plan.parts)
    begin = clocks()
    report = build(plan, job, workers=workers)
    spent = clocks() - begin
    shutil.rmtree(out)
    progress(f"built with {workers} workers: {1e3 * BUILD_ROWS / spent[1]:.1f} clips/s")
    busy = 1e3 * sum(report.seconds.values()) / (spent[1] * workers)
    return Built(spent=spent / BUILD_ROWS, busy=busy)


def peak_mib(root: Path, case: Case) -> float | None:
    """The most memory that a worker of the pool held while it made ``case`` with flow."""
    job = Job(out="", endpoint=None, raw=root, config=WITH_FLOW)
    with DecoderPool(job, workers=1) as pool:
        made = pool.submit(case.row).result()
        lists = [path.read_text() for path in Path("/proc/self/task").glob("*/children")]
        # Not ru_maxrss: a child's begins with what its parent held.
        statuses = [Path(f"/proc/{pid}/status").read_text() for pid in " ".join(lists).split()]
    marks = [line for status in statuses for line in status.splitlines() if "VmHWM" in line]
    if not isinstance(made, Sample) or not marks:
        return None
    return max(int(mark.split()[1]) / 1024 for mark in marks)


def line(what: str, spent: Spent) -> Line:
    """A line that is compared with nothing."""
    return Line(what=what, cpu_ms=float(spent[0]), wall_ms=float(spent[1]))


def at_most(limit: float, first: Line, rivals: Mapping[str, float]) -> list[Line]:
    """``first`` beside the CPU time of each rival; held to ``limit`` times the smallest."""
    assert first.cpu_ms is not None
    lines: list[Line] = []
    for rival, cpu_ms in rivals.items():
        ratio = first.cpu_ms / cpu_ms
        new = replace(Line() if lines else first, against=rival, ratio=ratio)
        if cpu_ms == min(rivals.values()):
            new = replace(new, target=f"<= {limit:.2f}", good=ratio <= limit)
        lines.append(new)
    return lines


def at_least(limit: float, figures: Line, against: str, ratio: float) -> Line:
    """``figures`` with a ratio that is to be ``limit`` or more."""
    return replace(
        figures, against=against, ratio=ratio, target=f">= {limit:.2f}", good=ratio >= limit
    )


def sample_lines(spent: Mapping[str, Spent]) -> list[Line]:
    """Samples beside decoding alone."""
    floors = {"pyav": "PyAV, all decoded", "decord": "decord", "reader": "our reader alone"}
    flow = float(spent["flow alone"][0])
    still = {name: float(spent[key][0]) for key, name in floors.items()}
    moving = {f"{n} + flow": float(spent[f"{k}, near"][0]) + flow for k, n in floors.items()}
    return [
        *(line(f"{name}: frames, sound", spent[key]) for key, name in floors.items()),
        *at_most(1.3, line("sample: frames, spectrogram", spent["sample"]), still),
        *(line(f"{n}: frames, next ones, sound", spent[f"{k}, near"]) for k, n in floors.items()),
        line("DIS flow alone", spent["flow alone"]),
        *at_most(1.2, line("sample: frames, spectrogram, flow", spent["sample, flow"]), moving),
    ]


def build_lines(builds: Mapping[int, Sequence[Built]], scripts: Spent | None) -> list[Line]:
    """Whole builds, writing included: beside the usual scripts, and two workers beside one."""
    one, two = (np.median([made.spent for made in builds[n]], axis=0) for n in (1, 2))
    usual = Line(what="the usual scripts", against="no ffmpeg here")
    if scripts is not None:
        figures = line("the usual scripts", scripts)
        usual = at_least(2.5, figures, "build, 1 worker", float(scripts[0] / one[0]))
    double = line("build, 2 workers", two)
    return [
        line("build, 1 worker", one),
        usual,
        at_least(1.8, double, "build, 1 worker, by the clock", float(one[1] / two[1])),
    ]


def memory_line(root: Path, cases: Sequence[Case]) -> Line:
    """Memory of a worker on the largest clip."""
    largest = max(cases, key=lambda case: case.pixels)
    peak = peak_mib(root, largest)
    return Line(
        what=f"memory of a worker at {largest.pixels / 1e6:.2f} Mpixel, with flow",
        against="not known here" if peak is None else f"{peak:.0f} MiB",
        target=f"<= {MEMORY_MIB} MiB",
        good=None if peak is None else peak <= MEMORY_MIB,
    )


def table(lines: Sequence[Line]) -> str:
    """``lines`` as aligned text."""
    cells = [("measurement", "CPU ms", "wall ms", "against", "ratio", "target", "ok")]
    for entry in lines:
        times = ("" if t is None else f"{t:.1f}" for t in (entry.cpu_ms, entry.wall_ms))
        ratio = "" if entry.ratio is None else f"{entry.ratio:.2f}"
        verdict = {True: "ok", False: "NO", None: ""}[entry.good]
        cells.append((entry.what, *times, entry.against, ratio, entry.target, verdict))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rows = (zip(row, "<>><><<", widths, strict=True) for row in cells)
    return "\n".join("  ".join(f"{c:{side}{w}}" for c, side, w in row).rstrip() for row in rows)


def machine() -> str:
    """Where the figures come from."""
    cpu = platform.processor() or platform.machine()
    if (info := Path("/proc/cpuinfo")).exists():
        names = [text for text in info.read_text().splitlines() if text.startswith("model name")]
        cpu = names[0].partition(":")[2].strip() if names else cpu
    packages = ("av", "decord", "numpy", "scipy", "opencv-contrib-python-headless")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in packages)
    return f"{os.cpu_count()} cores of {cpu}, Python {platform.python_version()}, {versions}"


def progress(text: str) -> None:
    """Says on stderr how far the run is."""
    click.echo(f"{text} (load {os.getloadavg()[0]:.2f})", err=True)


@click.command()
@click.option(
    "--clips",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of clips with sound.  [default: ../shared/media if there, else keypad's clips]",
)
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def main(clips: Path | None, rounds: int, as_json: bool) -> None:
    """Times samples beside decoding alone, and builds beside the usual scripts."""
    load = [os.getloadavg()[0]]
    with tempfile.TemporaryDirectory(prefix="bench-prep-") as name:
        folder = Path(name)
        root, paths = find_clips(clips, folder / "keypad")
        cases = [prepared(root, path, number) for number, path in enumerate(paths)]
        spent = timed_in_turn(cases, steps(root, folder), rounds)
        builds: dict[int, list[Built]] = {1: [], 2: []}
        for workers in [*builds] * BUILD_ROUNDS:
            builds[workers].append(built(root, cases, folder, workers))
        lines = sample_lines(spent) + build_lines(builds, spent.get("scripts"))
        lines.append(memory_line(root, cases))
    load.append(os.getloadavg()[0])
    busy = [float(np.median([made.busy for made in builds[n]])) for n in (1, 2)]
    if as_json:
        facts = {"clips": len(cases), "rounds": rounds, "load": load, "busy": busy}
        report = {**facts, "machine": machine(), "lines": [asdict(entry) for entry in lines]}
        click.echo(json.dumps(report))
        return
    click.echo(table(lines))
    click.echo(
        f"\nMilliseconds a clip ({len(cases)} clips, median of {rounds} rounds); ratios are of CPU "
        "time unless said.\nThe target is held against the smallest floor. Our reader alone is PyAV "
        "told which pictures to skip;\nit gives what the sample is made of and does nothing else.\n"
        f"Load before and after: {load[0]:.2f}, {load[1]:.2f}; time that the workers were at work: "
        f"{busy[0]:.0%} with 1, {busy[1]:.0%} with 2.\n{machine()}"
    )


if __name__ == "__main__":
    main()
