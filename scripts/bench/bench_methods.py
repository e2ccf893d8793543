#!/usr/bin/env python
"""Times a step of each method, as a multiple of a step of `joint` in the same run.

    .venv/bin/python scripts/bench/bench_methods.py --data out/keypad
    .venv/bin/python scripts/bench/bench_methods.py --data out/keypad --encoder resnet18 --size 112

All methods train on the same batch from memory and take turns, some steps each, so that whatever
else the machine does falls on all of them; a ratio is within a round, and on the CPU of processor
time. A method that needs a fusion of its own is compared with `joint` on that fusion. What a method
does between steps (a growing head, a pass over the data) is not in the time of a step, and is not
measured. Over all methods it takes about five minutes on a quiet core.
"""

import argparse
import os
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import torch

from mmtrain.config.run import OptimizerConfig, TrainConfig, ViewConfig
from mmtrain.data import open_dataset
from mmtrain.evaluation.conformance import FUSIONS_OF
from mmtrain.methods.catalog import METHODS
from mmtrain.training.assemble import assemble
from mmtrain.training.device import autocast
from mmtrain.training.parts import fitted
from mmtrain.training.run import Run
from mmtrain.types import Batch

# Multiples of naive training: wanted here, and as the papers report (seconds an epoch, CREMA-D).
WANTED = {
    "ogm": 1.02,
    "opm": 1.02,
    "iprm": 1.03,
    "amss": 1.10,
    "lfm-h": 1.09,
    "sam": 2.1,
    "igm": 2.1,
    "mla": 1.29,
    "greedy": 1.05,
    "g-blend": 1.10,
    # Two backward passes of three that a step is made of, a forward one counting as one.
    "mmpareto": 1.75,
    # Encoders without batch normalisation: one sample more.
    "agm": 1.20,
}
REPORTED = {
    "iprm": "1.035",
    "lfm-lb": "1.09",
    "ogm": "about 1",
    "opm": "about 1",
    "amss": "1.02",
    "g-blend": "1.50, probes included",
    "greedy": "1.01 of mmtm",
    "mla": "1.29",
    "agm": "3 to 4",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="out/keypad")
    parser.add_argument("--methods", default=",".join(alone()))
    parser.add_argument("--modalities", default="audio,visual")
    parser.add_argument("--encoder", default="small-cnn")
    parser.add_argument("--size", type=int, default=64, help="side of the pictures")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=2, help="of a method in a round")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="fp32")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    names = [name for name in given.methods.split(",") if METHODS.entry(name).curriculum is None]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        dataset = stack.enter_context(open_dataset(given.data))
        runs = {}
        bases = {name: base_of(name) for name in names}
        for label in dict.fromkeys(("joint", *bases.values(), *names)):
            name, _, fusion = label.partition(" on ")
            config = TrainConfig(
                data=given.data,
                method=name,
                fusion=fusion or FUSIONS_OF.get(name, TrainConfig.fusion),
                modalities=tuple(given.modalities.split(",")),
                encoder=given.encoder,
                batch_size=given.batch_size,
                device=given.device,
                precision=given.precision,
                optimizer=OptimizerConfig(lr=1e-3),
                view=ViewConfig(frames=1, size=given.size, crop="resize"),
            )
            (folder / label).mkdir()
            runs[label] = stack.enter_context(
                assemble(fitted(config, dataset), dataset, folder / label)
            )
        batch = next(runs["joint"].batches("train"))
        show(runs, measured(runs, batch, given.rounds, given.steps), bases)


def base_of(name: str) -> str:
    """Label of the run of `joint` that a method is compared with."""
    return f"joint on {FUSIONS_OF[name]}" if name in FUSIONS_OF else "joint"


def alone() -> list[str]:
    """Methods that need no other runs, as teachers are."""
    return [name for name in METHODS.names if name not in ("umt", "g2d")]


def measured(runs: dict[str, Run], batch: Batch, rounds: int, steps: int) -> dict[str, list[float]]:
    """Method to the seconds of a step in each round."""
    for run in runs.values():
        run.model.train()
        timed(run, batch, 2)
    found: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            found[name].append(timed(run, batch, steps))
    return found


def timed(run: Run, batch: Batch, steps: int) -> float:
    """Seconds of a step."""
    begin = now()
    for _ in range(steps):
        with autocast(run.device, run.config.precision):
            run.method.step(run, batch)
    return (now() - begin) / steps


def now() -> float:
    """Seconds: of processor time, or by the clock with the GPU done."""
    if not torch.cuda.is_available():
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def show(runs: dict[str, Run], found: dict[str, list[float]], bases: dict[str, str]) -> None:
    run = runs["joint"]
    print(
        f"{run.config.encoder}, {' and '.join(run.config.modalities)}, pictures of "
        f"{run.config.view.size}, batch {run.config.batch_size}, {run.config.precision}, "
        f"{run.device}, {torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}"
    )
    print(f"{'method':20} {'ms a step':>9}  {'x joint':>7}  quartiles     wanted  papers report")
    for name, seconds in found.items():
        base = found[bases.get(name, name)]
        ratios = [mine / theirs for mine, theirs in zip(seconds, base, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        wanted = f"<= {WANTED[name]:.2f}" if name in WANTED else ""
        print(
            f"{name:20} {1e3 * statistics.median(seconds):9.1f}  {middle:7.3f}  "
            f"{low:.3f}-{high:.3f}   {wanted:7}  {REPORTED.get(name, '')}".rstrip()
        )


if __name__ == "__main__":
    main()
