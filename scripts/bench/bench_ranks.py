#!/usr/bin/env python
"""Samples a second of two ranks against one, where the model is the bottleneck.

    .venv/bin/python scripts/bench/bench_ranks.py --data out/keypad

Each rank has one thread; the batch is shared, so two ranks do what one does. Runs take turns, and a
ratio is within a round. The first epoch of a run warms up and does not count.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="out/keypad")
    parser.add_argument("--method", default="joint")
    parser.add_argument("--encoder", default="small-cnn")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ranks", type=int, default=2)
    given = parser.parse_args()
    ratios = []
    for number in range(given.rounds):
        one, several = (speed(given, ranks) for ranks in (1, given.ranks))
        ratios.append(several / one)
        print(f"round {number + 1}: {one:.0f} and {several:.0f} samples/s, {ratios[-1]:.2f}")
    print(
        f"{given.ranks} ranks are {statistics.median(ratios):.2f} times one "
        f"(wanted >= 1.70), load {os.getloadavg()[0]:.1f}"
    )


def speed(given: argparse.Namespace, ranks: int) -> float:
    """Samples a second of the epochs that count."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        options = {
            "--data": given.data,
            "--method": given.method,
            "--encoder": given.encoder,
            "--batch-size": str(given.batch_size),
            "--epochs": str(given.epochs),
            "--workers": "1",
            "--device": "cpu",
            "--out": str(run),
        }
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        command = [*launcher, f"--nproc-per-node={ranks}", "-m", "mmtrain", "train"]
        command += [word for pair in options.items() for word in pair]
        command += ["--set", "view.size=64", "--set", "view.frames=1"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr)
        lines = (run / "metrics.jsonl").read_text().splitlines()[1:]
        return statistics.median(json.loads(line)["samples_per_s"] for line in lines)


if __name__ == "__main__":
    main()
