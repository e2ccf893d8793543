"""Checks and times training on one GPU; see `scripts/gpu_check`."""

import argparse
import json
import logging
import os
import platform
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from checks import CHECKS, Place, Skipped
from synthetic import Size, write_shards
from times import TIMES

from mmtrain.errors import MmtrainError
from mmtrain.training.device import device_of, set_up

_SMALL = Size(train=12, rest=6, frames=1, height=32, columns=40)
_LARGE = {
    "cuda": Size(train=1024, rest=64, frames=6, height=256, columns=1004),
    "cpu": Size(train=48, rest=8, frames=2, height=72, columns=100),
}


def check(place: Place) -> list[dict[str, Any]]:
    """Carries out all checks, one after the other, whatever becomes of the others."""
    rows = []
    for name, carry_out in {**CHECKS, **TIMES}.items():
        begin = time.perf_counter()
        row: dict[str, Any] = {"check": name}
        try:
            row |= {"status": "ok", "values": carry_out(place)}
        except Skipped as reason:
            row |= {"status": "skipped", "values": {"reason": str(reason)}}
        except (AssertionError, MmtrainError, RuntimeError) as error:
            row |= {"status": "failed", "values": {"error": f"{type(error).__name__}: {error}"}}
        rows.append({**row, "seconds": round(time.perf_counter() - begin, 1)})
        print(f"{name}: {row['status']}, {rows[-1]['seconds']} s", file=sys.stderr, flush=True)
    return rows


def table(report: Mapping[str, Any]) -> str:
    """The report as Markdown."""
    lines = [
        f"{report['device']}, torch {report['torch']}, {report['seconds']} s",
        "",
        "| check | status | seconds | values |",
        "|---|---|--:|---|",
    ]
    for row in report["checks"]:
        values = "; ".join(f"{name}: {value}" for name, value in row["values"].items())
        cells = values.replace("|", "\\|").replace("\n", " ")
        lines.append(f"| {row['check']} | {row['status']} | {row['seconds']} | {cells} |")
    return "\n".join(lines) + "\n"


def device_name(device: torch.device) -> str:
    """Name of a device, as its maker gives it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU ({platform.machine()})"


def main(arguments: list[str] | None = None) -> int:
    """Writes DIR/gpu_check.json and DIR/gpu_check.md; 1 if a check has failed."""
    parser = argparse.ArgumentParser(prog="scripts/gpu_check", description=__doc__)
    parser.add_argument("--device", default="cuda", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--quick", action="store_true", help="look only at whether all of it runs")
    parser.add_argument("--out", type=Path, default=Path("out/gpu_check"))
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING)
    begin = time.perf_counter()
    try:
        device = set_up(given.device)
    except MmtrainError as error:
        parser.error(str(error))
    if device.type == "cpu":
        # Runs are tiny and some share the cores, where threads would only wait for each other.
        torch.set_num_threads(1)
        os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        root, kind = Path(folder), device_of(given.device).type
        place = Place(
            device=kind,
            quick=given.quick,
            small=write_shards(root / "small", _SMALL),
            large=write_shards(root / "large", _LARGE[kind]),
            out=root / "runs",
        )
        rows = check(place)
    report = {
        "device": device_name(device),
        "torch": torch.__version__,
        "quick": given.quick,
        "seconds": round(time.perf_counter() - begin, 1),
        "checks": rows,
    }
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "gpu_check.json").write_text(json.dumps(report, indent=1) + "\n")
    (given.out / "gpu_check.md").write_text(table(report))
    print(table(report), end="")
    return int(any(row["status"] == "failed" for row in rows))


if __name__ == "__main__":
    sys.exit(main())
