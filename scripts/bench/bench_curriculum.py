"""Times the order of a curriculum: reading by it, planning it, and scoring the samples for it.

    scripts/bench/bench_curriculum.py                     # on pictures and sounds made up here
    scripts/bench/bench_curriculum.py --data SHARDS     # any set with frames and spectrograms

Ways take turns for several rounds, and what is compared with a target is the median of the ratios
within rounds. `disk`: an epoch in the order of ``bss-l`` beside one in the order of the shards.
`store`: the same out of a store on this machine (nginx, or SeaweedFS without it) where every
request waits, beside the disk, `webdataset` with our decoding, and orders that show less. `plan`:
from scores to the first reads, for an index of a million samples. `scoring`: real epochs of
training.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np
import torch
from bench_loader import VIEW, copy_samples, index_of
from numpy.typing import NDArray
from rounds import Row, by_turns, orders, ratio, stream
from store_rows import store

from mmprep.clips.parts.frames import jpeg
from mmprep.format import INDEX, Index
from mmtrain.config.run import TrainConfig, ViewConfig
from mmtrain.curricula.bss import BSSL
from mmtrain.curricula.memory import SampleFacts
from mmtrain.data import open_dataset
from mmtrain.data.reading.plan import Visit, plan
from mmtrain.training.assemble import assemble
from mmtrain.training.metrics_log import MetricsFile
from mmtrain.training.parts import fitted
from mmtrain.training.run import METRICS, Run

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT))
GAP = 128 << 10  # Of a bucket, see mmtrain.data.reading.members.
AHEAD = 3  # Batches that are planned before the first is there.


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="a data set of mmprep; made up by default")
    parser.add_argument("--only", default="", help="parts, such as disk,plan")
    parser.add_argument("--samples", type=int, default=320)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--latency", type=float, nargs="+", default=[0.02, 0.001], help="seconds, of every request"
    )
    parser.add_argument("--rows", type=int, default=1_000_000, help="samples to plan for")
    parser.add_argument("--size", type=int, default=112, help="of pictures, for scoring")
    args = parser.parse_args()
    parts = {"disk": disk, "store": store, "plan": planning, "scoring": scoring}
    chosen = args.only.split(",") if args.only else list(parts)
    if unknown := set(chosen) - set(parts):
        parser.error(f"--only {', '.join(unknown)}: there are {', '.join(parts)}")
    torch.set_num_threads(1)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="bench-curriculum-") as folder:
        root = Path(folder)
        if chosen != ["plan"]:
            write_samples(args.data, root, args.samples)
        print(f"{args.samples} samples, batch {args.batch_size}, {args.workers} workers")
        for name in chosen:
            print(f"\n{name}: load of the machine {os.getloadavg()}")
            rows += parts[name](root, args)
    print(f"\n{'':52} {'measured':>8}  {'target':9}")
    for row in rows:
        print(row.line())


def write_samples(data: str | None, root: Path, count: int) -> None:
    """Puts ``count`` samples into ``root``/shards."""
    if data is not None:
        copy_samples(open_dataset(data), root / "shards", count)
        return
    from tests.support.shardmaker import Recipe, make_shards

    recipe = Recipe(samples=24, parts=("frames", "spectrogram"), size=(340, 256), columns=1004)
    make_shards(root / "base", recipe)
    made: dict[int, list[bytes]] = {}

    def pictures(row: int) -> list[bytes]:
        if row not in made:
            generator = np.random.default_rng(row)
            made[row] = [jpeg(picture(generator), 90) for _ in range(recipe.frames)]
        return made[row]

    copy_samples(open_dataset(root / "base"), root / "shards", count, pictures=pictures)


def picture(generator: np.random.Generator) -> NDArray[np.uint8]:
    """(256, 340, 3) with detail of every size, less of the small: some 17 kB as a JPEG."""
    total = np.full((256, 340, 3), 128, np.float32)
    for detail, strength in ((4, 60), (16, 30), (64, 11), (128, 4)):
        noise = generator.standard_normal((detail * 3 // 4, detail, 3)).astype(np.float32)
        total += strength * cv2.resize(noise, (340, 256), interpolation=cv2.INTER_CUBIC)
    return total.clip(0, 255).astype(np.uint8)


def disk(root: Path, args: argparse.Namespace) -> list[Row]:
    with open_dataset(root / "shards") as data:
        ways = {name: stream(data, order, args) for name, order in orders(data).items()}
        found = by_turns(ways, args.rounds)
    return [ratio("disk: bss-l / sequential", found["bss-l"], found["sequential"], 0.9)]


def planning(root: Path, args: argparse.Namespace) -> list[Row]:
    (root / INDEX).write_bytes(index_of(args.rows))
    index = Index.open(root / INDEX)
    generator = np.random.default_rng(0)
    facts = {name: generator.random(args.rows, np.float32) for name in ("similarity", "loss")}
    seconds = [planned(index, facts, args.batch_size) for _ in range(args.rounds)]
    score, order, reads = (statistics.median(column) for column in zip(*seconds, strict=True))
    each = reads / (AHEAD * args.batch_size)
    print(
        f"  scores {score:.3f} s, order {order:.3f} s, reads of the first {AHEAD} batches "
        f"{reads:.4f} s;\n  the others are planned while batches are made, {each * 1e6:.0f} us a "
        f"sample: {each * args.rows:.1f} s over the epoch"
    )
    tracemalloc.start()
    planned(index, {name: column.copy() for name, column in facts.items()}, args.batch_size)
    peak = tracemalloc.get_traced_memory()[1] / args.rows
    tracemalloc.stop()
    total = statistics.median(map(sum, seconds))
    return [
        Row(f"plan: seconds to the first reads, {args.rows} samples", total, 1.5, most=True),
        Row("plan: bytes of memory a sample, at most at once", peak, 100, most=True),
    ]


def planned(index: Index, facts: SampleFacts, batch_size: int) -> tuple[float, float, float]:
    """Seconds from facts to scores, to the order, and to the first reads."""
    begin = time.perf_counter()
    ids = np.flatnonzero(index.split == 0)
    curriculum = BSSL()
    if curriculum.memory is None:
        raise TypeError("bss-l has no memory")
    curriculum.memory.refresh(0, len(ids), lambda: facts)
    between = time.perf_counter()
    order = curriculum.visits(ids, 0, 0)
    ordered = time.perf_counter()
    for start in range(0, AHEAD * batch_size, batch_size):
        draws = VIEW.draws(0, 0, start, start + batch_size)
        samples = order.ids[start : start + batch_size].tolist()
        wants = [
            Visit(sample, {"spectrogram": [0], "frames": VIEW.choose_frames(10, drawn)})
            for sample, drawn in zip(samples, draws, strict=True)
        ]
        plan(index, wants, GAP)
    return between - begin, ordered - between, time.perf_counter() - ordered


def scoring(root: Path, args: argparse.Namespace) -> list[Row]:
    """Epochs of training with all that is done for the next; there is no split val."""
    curricula = {
        "uniform": ("uniform", {}),
        "online": ("bss-l", {"scoring": "online"}),
        "pass": ("bss-l", {"scoring": "pass"}),
    }
    found: dict[str, list[float]] = {name: [] for name in curricula}
    with open_dataset(root / "shards") as data, ExitStack() as stack:
        turns = {}
        for name, (curriculum, settings) in curricula.items():
            config = TrainConfig(
                data=str(root / "shards"),
                curriculum=curriculum,
                settings={"curriculum": settings},
                encoder="small-cnn",
                batch_size=args.batch_size,
                workers=args.workers,
                device="cpu",
                epochs=args.rounds + 2,  # The last is begun only.
                view=ViewConfig(frames=1, size=args.size),
            )
            folder = root / name
            folder.mkdir()
            run = stack.enter_context(assemble(fitted(config, data), data, folder))
            turns[name] = epochs(run)
        for i in range(args.rounds + 1):
            for name, turn in turns.items():
                begin = time.perf_counter()
                next(turn)
                if i:
                    found[name].append(time.perf_counter() - begin)
    for name, seconds in found.items():
        lines = MetricsFile(root / name / METRICS).read()[1:]
        passes = statistics.median(line["scoring_seconds"] for line in lines)
        print(
            f"  {name:12} {statistics.median(seconds):7.2f} s an epoch, {passes:.2f} s of them "
            "scoring in a pass of its own"
        )
    uniform = found["uniform"]
    cost = statistics.median(p / u for p, u in zip(found["pass"], uniform, strict=True))
    row = ratio(
        "scoring: epoch of bss-l online / uniform", found["online"], uniform, 1.05, most=True
    )
    return [row._replace(note=f"{row.note}; with pass {cost:.3f}")]


def epochs(run: Run) -> Iterator[None]:
    """Each turn is an epoch, to the order of the next."""
    turns = run.epochs()
    next(turns)
    while True:
        run.train_epoch(run.method)
        next(turns)
        yield


if __name__ == "__main__":
    main()
