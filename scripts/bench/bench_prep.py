"""How fast `mmprep build` is, beside decoding alone and beside the usual scripts.

Run it from the repository: ``.venv/bin/python scripts/bench/bench_prep.py``.

Everything is timed in turn on each clip, round after round, so that a busy machine slows all alike.
A figure is the mean over the clips of the median over the rounds. CPU is user and system time of
this process and its children; ratios are of it, because other programs change it least. Only the
two workers are judged by the clock.
"""

import json
import os
import platform
import re
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
from typing import Any, Final, TypeAlias

import av
import click
import cv2
import decord
import numpy as np
from numpy.typing import NDArray
from scipy.io import wavfile
from scipy.signal import spectrogram

from mmprep.build.build import build_dataset
from mmprep.build.request import Request, make_plan
from mmprep.clips.decode.clip import Clip
from mmprep.clips.job import Job
from mmprep.clips.outcome import Sample
from mmprep.clips.parts import frames as pictures
from mmprep.clips.parts.flow import consecutive_indices
from mmprep.clips.pool import DecoderPool
from mmprep.clips.sample import SampleMaker
from mmprep.config import FlowConfig, PartsConfig
from mmprep.datasets.generated.keypad import Parameters, write_clips
from mmprep.datasets.spec import load as load_spec
from mmprep.manifest import Row, write_csv

MEDIA: Final = Path(__file__).resolve().parents[2] / ".." / "shared" / "media"
PATTERNS: Final = ("vggsound/*.mp4", "kinetics/train/*.mp4", "balanced_av/*/*.mp4")
BUILD_MS, BUILD_CLIPS = 40_000, 400  # at least; so long that the start of a worker hardly counts
FLOOR_NOTE: Final = """\
Targets are held against the smallest floor. `Our reader alone` is PyAV told which pictures to skip:
it decodes what the sample is made of and does nothing else."""

Spent: TypeAlias = NDArray[np.float64]  # [CPU, wall] milliseconds


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """A clip.

    Attributes:
        wanted: Indices of the frames that a sample shows; the same and their successors for flow.
        greys: Pairs of grey pictures between which flow is computed.
    """

    path: Path
    row: Row
    wanted: tuple[list[int], list[int]]
    greys: tuple[tuple[NDArray[np.uint8], NDArray[np.uint8]], ...]
    pixels: int


Step: TypeAlias = Callable[[Case], object]


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of the table; times are milliseconds a clip.

    Attributes:
        against: What ``ratio`` compares with, or a word in place of figures.
        target: A limit, such as ``<= 1.30``; ``good`` says whether it holds.
    """

    what: str = ""
    cpu_ms: float | None = None
    wall_ms: float | None = None
    against: str = ""
    ratio: float | None = None
    target: str = ""
    good: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Source:
    """Clips below ``root``, and what is made of them."""

    root: Path
    paths: list[Path]
    parts: PartsConfig

    @property
    def with_flow(self) -> PartsConfig:
        """The same and flow, on pictures as large as the frames."""
        flow = FlowConfig(short_side=self.parts.frames.short_side)
        return replace(self.parts, names=(*self.parts.names, "flow"), flow=flow)


def find_clips(folder: Path | None, spare: Path) -> Source:
    """Real clips, or keypad's, written to ``spare``."""
    if folder is None and not MEDIA.is_dir():
        write_clips(spare, Parameters(limit=40))
        parts = load_spec("keypad").parts
        return Source(root=spare, paths=sorted(spare.glob("*/*/*.mp4")), parts=parts)
    root = (folder or MEDIA).resolve()
    clips = sorted(path for pattern in PATTERNS for path in root.glob(pattern))
    clips = clips or sorted(root.rglob("*.mp4"))
    if not clips:
        raise click.BadParameter(f"no .mp4 in {root}", param_hint="--clips")
    return Source(root=root, paths=clips, parts=PartsConfig())


def prepared(source: Source, path: Path, number: int) -> Case:
    """Reads ``path`` into the page cache and finds which of its frames are wanted."""
    path.read_bytes()
    video = path.relative_to(source.root).as_posix()
    row = Row(key=f"clip{number}", label="any", split="train", sources={"video": video})
    parts = source.parts
    with Clip(path, None, parts.clip_s, video=True, audio=False) as clip:
        at = pictures.frame_times(clip.duration_s, parts.frames.fps, parts.clip_s)
        shown = [int(i) for i in pictures.indices_on_display(clip.times, at)]
        pairs = [consecutive_indices(i, len(clip.times), 1) for i in shown]
        near = sorted({i for pair in pairs for i in pair})
        found = clip.pictures(near)
    grey = {i: pictures.resize(pictures.luma(found[i]), parts.frames.short_side) for i in near}
    greys = tuple((grey[a], grey[b]) for a, b in pairs)
    pixels = found[near[0]].size // 3
    return Case(path=path, row=row, wanted=(shown, near), greys=greys, pixels=pixels)


def by_pyav(flow: bool, case: Case) -> None:
    """Decodes everything in one pass, as PyAV is used; wanted frames to RGB, sound to 16 kHz."""
    with av.open(str(case.path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        video.thread_type = "NONE"
        resampler = av.AudioResampler(format="s16", layout="mono", rate=16_000)
        number, chosen = 0, {*case.wanted[flow]}
        for frame in container.decode(video, audio):
            if isinstance(frame, av.AudioFrame):
                for piece in resampler.resample(frame):
                    piece.to_ndarray()
            elif isinstance(frame, av.VideoFrame):
                if number in chosen:
                    frame.to_ndarray(format="rgb24", threads=1)
                number += 1


def by_decord(flow: bool, case: Case) -> None:
    """Wanted frames and sound by decord, on one thread."""
    decord.VideoReader(str(case.path), num_threads=1).get_batch(case.wanted[flow]).asnumpy()
    decord.AudioReader(str(case.path), sample_rate=16_000, mono=True)[:].asnumpy()


def by_clip(flow: bool, case: Case) -> None:
    """Wanted frames and sound by our reader, which skips what no wanted frame refers to."""
    with Clip(case.path, None, 10.0, video=True, audio=True) as clip:
        clip.pictures(case.wanted[flow])
        clip.sound(16_000)


FLOORS: Final = {"PyAV, all decoded": by_pyav, "decord": by_decord, "our reader alone": by_clip}


def by_scripts(folder: Path, parts: PartsConfig, case: Case) -> None:
    """The usual scripts: ffmpeg for the frames, ffmpeg for the sound, scipy for the spectrogram."""
    quiet = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-threads", "1", "-i", str(case.path)]
    side = parts.frames.short_side
    scale = f"fps=1,scale='if(gt(iw,ih),-2,{side})':'if(gt(iw,ih),{side},-2)'"
    shots = ["-an", "-vf", scale, "-filter_threads", "1", "-threads", "1", "-q:v", "2"]
    wave = folder / "sound.wav"
    subprocess.run([*quiet, *shots, str(folder / "%03d.jpg")], check=True)
    subprocess.run([*quiet, "-vn", "-ac", "1", "-ar", "16000", str(wave)], check=True)
    rate_hz, sound = wavfile.read(wave)
    samples = np.resize(sound, round(parts.clip_s * rate_hz)) / 32768
    _, _, power = spectrogram(samples, rate_hz, nperseg=512, noverlap=353)
    np.save(folder / "sound.npy", np.log(power + 1e-7))


def steps(source: Source, folder: Path) -> dict[str, Step]:
    """Ways that are timed on each clip, in turn; ``+`` is with flow, or with the frames for it."""
    cv2.setNumThreads(1)
    decord.logging.set_level(decord.logging.FATAL)
    plain, moving = (SampleMaker(source.root, p) for p in (source.parts, source.with_flow))
    dis: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    timed: dict[str, Step] = {
        **{name: partial(floor, False) for name, floor in FLOORS.items()},
        "sample": lambda case: plain.make(case.row),
        **{f"{name}+": partial(floor, True) for name, floor in FLOORS.items()},
        "flow": lambda case: [dis.calc(a, b, None) for a, b in case.greys],
        "sample+": lambda case: moving.make(case.row),
    }
    if shutil.which("ffmpeg"):
        timed["scripts"] = partial(by_scripts, folder, source.parts)
    return timed


def clocks() -> Spent:
    """CPU of this process and of its children that have ended, and the clock: milliseconds."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = time.process_time() + ended.ru_utime + ended.ru_stime
    return 1e3 * np.array([cpu, time.perf_counter()])


def timed_in_turn(
    cases: Sequence[Case], timed: Mapping[str, Step], rounds: int
) -> dict[str, Spent]:
    """Mean over the clips of the median over the rounds: [CPU, wall] milliseconds a clip."""
    spent = np.zeros((len(timed), len(cases), rounds + 1, 2))
    for turn in range(rounds + 1):
        for place, case in enumerate(cases):
            for number, step in enumerate(timed.values()):
                begin = clocks()
                step(case)
                spent[number, place, turn] = clocks() - begin
        click.echo(f"round {turn} of {rounds}" if turn else "warm", err=True)
    # Round 0 warms caches and lazy imports.
    means = np.median(spent[:, :, 1:], axis=2).mean(axis=1)
    return dict(zip(timed, means, strict=True))


def built(source: Source, cases: Sequence[Case], folder: Path, *, clips: int, by: int) -> Spent:
    """Builds ``clips`` clips, the same few under many keys, ``by`` so many workers.

    Returns:
        CPU and wall milliseconds a clip, and the share of the time that workers were at work.
    """
    rows = [
        Row(key=f"k{n:04}", label="any", split="train", sources=cases[n % len(cases)].row.sources)
        for n in range(clips)
    ]
    manifest, out = folder / "rows.csv", folder / "out"
    write_csv(rows, manifest)
    plan = make_plan(Request(dataset=None, raw=source.root, manifest=manifest))
    plan = replace(plan, parts=source.parts)
    job = Job(out=str(out), endpoint=None, raw=source.root, config=source.parts)
    begin = clocks()
    report = build_dataset(plan, job, workers=by)
    spent = clocks() - begin
    shutil.rmtree(out)
    click.echo(f"built by {by}: {1e3 * len(rows) / spent[1]:.1f} clips/s", err=True)
    busy = 1e3 * sum(report.seconds.values()) / (spent[1] * by)
    return np.array([*spent / len(rows), busy])


def peak_mib(source: Source, case: Case) -> float | None:
    """The most memory that a worker of the pool held while it made ``case`` with flow."""
    job = Job(out="", endpoint=None, raw=source.root, config=source.with_flow)
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
    flow = float(spent["flow"][0])
    still = {name: float(spent[name][0]) for name in FLOORS}
    moving = {f"{name} + flow": float(spent[f"{name}+"][0]) + flow for name in FLOORS}
    return [
        *(line(f"{name}: frames, sound", spent[name]) for name in FLOORS),
        *at_most(1.12, line("sample: frames, spectrogram", spent["sample"]), still),
        *(line(f"{name}: frames, next ones, sound", spent[f"{name}+"]) for name in FLOORS),
        line("DIS flow alone", spent["flow"]),
        *at_most(1.15, line("sample: frames, spectrogram, flow", spent["sample+"]), moving),
    ]


def build_lines(builds: Mapping[int, Spent], spent: Mapping[str, Spent]) -> list[Line]:
    """Whole builds, writing included: beside the usual scripts, and two workers beside one."""
    one, two = builds[1], builds[2]
    lines = [line("build, 1 worker", one), Line(what="the usual scripts", against="no ffmpeg here")]
    if "scripts" in spent:
        usual = spent["scripts"]
        first = line("the usual scripts", usual)
        lines[1:] = [
            at_least(2.5, first, "build, 1 worker", float(usual[0] / one[0])),
            Line(against="sample", ratio=float(usual[0] / spent["sample"][0])),
        ]
    double, by_clock = line("build, 2 workers", two), float(one[1] / two[1])
    return [*lines, at_least(1.8, double, "build, 1 worker, by the clock", by_clock)]


def memory_line(source: Source, cases: Sequence[Case]) -> Line:
    """Memory of a worker on the largest clip."""
    largest = max(cases, key=lambda case: case.pixels)
    what = f"memory of a worker at {largest.pixels / 1e6:.2f} Mpixel, with flow"
    target = "<= 1024 MiB"
    if (peak := peak_mib(source, largest)) is None:
        return Line(what=what, against="not known here", target=target)
    return Line(what=what, against=f"{peak:.0f} MiB", target=target, good=peak <= 1024)


def table(lines: Sequence[Line]) -> str:
    """``lines`` as aligned text."""
    head = ("measurement", "CPU ms", "wall ms", "against", "ratio", "target", "ok")
    cells: list[tuple[str, ...]] = [head]
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
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.exists() else ""
    cpu = re.search(r"model name\s*: (.*)", text)
    packages = ("av", "decord", "numpy", "scipy", "opencv-contrib-python-headless")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in packages)
    return f"{os.cpu_count()} cores of {cpu[1] if cpu else platform.machine()}, {versions}"


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
        source = find_clips(clips, folder / "keypad")
        cases = [prepared(source, path, number) for number, path in enumerate(source.paths)]
        spent = timed_in_turn(cases, steps(source, folder), rounds)
        enough = max(BUILD_CLIPS, round(BUILD_MS / spent["sample"][1]))
        build_once = partial(built, source, cases, folder, clips=enough)
        turns = [[build_once(by=workers) for workers in (1, 2)] for _ in range(2)]
        builds = dict(zip((1, 2), np.median(turns, axis=0), strict=True))
        lines = sample_lines(spent) + build_lines(builds, spent)
        lines.append(memory_line(source, cases))
    load.append(os.getloadavg()[0])
    busy = [float(made[2]) for made in builds.values()]
    if as_json:
        facts = {"clips": len(cases), "rounds": rounds, "load": load, "busy": busy}
        plain = [asdict(entry) for entry in lines]
        click.echo(json.dumps({**facts, "machine": machine(), "lines": plain}))
        return
    click.echo(table(lines))
    click.echo(
        f"\nMilliseconds a clip: {len(cases)} clips, median of {rounds} rounds; ratios of CPU time "
        f"unless said.\n{FLOOR_NOTE}\n"
        f"Load before and after: {load[0]:.2f}, {load[1]:.2f}. Workers at work: {busy[0]:.0%} of "
        f"the time with 1, {busy[1]:.0%} with 2.\n{machine()}"
    )


if __name__ == "__main__":
    main()
