"""Checks on a device: losses, methods, a run that is killed, ranks."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from mmtrain.config.run import OptimizerConfig, TrainConfig, ViewConfig
from mmtrain.evaluation.audit import audit
from mmtrain.evaluation.conformance import FUSIONS_OF
from mmtrain.methods.catalog import METHODS
from mmtrain.training.train import train

# Methods that learn from finished runs of one modality each.
_TAUGHT = ("umt", "g2d")
# Where so few samples, or epochs, are too few for all to take their turn.
_SETTINGS: dict[str, dict[str, dict[str, Any]]] = {
    "bss-h": {"curriculum": {"start": 0.9}},
    "di-mml": {"method": {"start": 0, "fusion_epochs": 1}},
    "domfn": {"method": {"pretrain": 1}},
    "lfm-lb": {"method": {"held": 3}},
}
_QUICK = ("joint", "ogm", "bss-l")


class Skipped(Exception):
    """A check that this device, or this size, leaves out; says why."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where and how large the checks are.

    Attributes:
        device: ``cuda`` or ``cpu``.
        quick: Whether to look only at whether everything runs.
        small: Shards of small clips: 12 samples to train on.
        large: Shards of clips to be timed on.
        out: Empty folder for runs.
    """

    device: str
    quick: bool
    small: Path
    large: Path
    out: Path

    def config(self, **changes: Any) -> TrainConfig:
        """A run of two short epochs on the small shards, or of one to be quick."""
        given: dict[str, Any] = {
            "data": str(self.small),
            "encoder": "small-cnn",
            "epochs": 1 if self.quick else 2,
            "batch_size": 4,
            "device": self.device,
            "workers": 2,
            "view": ViewConfig(frames=1, size=32),
            "optimizer": OptimizerConfig(lr=0.01),
            "settings": {"encoder": {"width": 64}},
        }
        return TrainConfig(**{**given, **changes})

    def needs_cuda(self) -> None:
        """Raises `Skipped` elsewhere."""
        if self.device != "cuda":
            raise Skipped("needs CUDA")


def losses(place: Place) -> dict[str, Any]:
    """Losses of a short run in both precisions, against those of float32 on the CPU."""
    reference = _losses(place, "losses-cpu", device="cpu")
    values: dict[str, Any] = {"cpu fp32": reference}
    # float32 convolutions use TF32 on a GPU, by torch's default.
    for precision, most in (("fp32", 0.02), ("bf16", 0.1)):
        own = _losses(place, f"losses-{precision}", precision=precision)
        apart = max(abs(a - b) / b for a, b in zip(own, reference, strict=True))
        values |= {f"{place.device} {precision}": own, f"{precision} apart": round(apart, 5)}
        if apart > most:
            raise AssertionError(f"{precision}: losses {own} against {reference} on the CPU")
    return values


def methods(place: Place) -> dict[str, Any]:
    """Every method of the catalog, three steps an epoch: everything stays finite."""
    names = _QUICK if place.quick else METHODS.names
    taught = {} if place.quick else {"method": {"teachers": _teachers(place)}}
    for name in names:
        own = taught if name in _TAUGHT else _SETTINGS.get(name, {})
        settings = {"encoder": {"width": 64}, **own}
        fusion = FUSIONS_OF.get(name, TrainConfig.fusion)
        config = place.config(method=name, fusion=fusion, settings=settings)
        result = train(config, place.out / f"method-{name}")
        loss = result["test"]["loss"]
        if not 0 < loss < 100:
            raise AssertionError(f"{name}: the loss on test is {loss}")
    return {"methods": len(names)}


def _teachers(place: Place) -> tuple[str, ...]:
    """Folders of finished runs, one for each modality that a run has by default."""
    folders = []
    for modality in ("audio", "visual"):
        folders.append(str(place.out / f"teacher-{modality}"))
        train(place.config(modalities=(modality,)), Path(folders[-1]))
    return tuple(folders)


def resume(place: Place) -> dict[str, Any]:
    """A run that is killed inside an epoch goes on to the losses of the straight run."""
    config = place.config(save_every_steps=1)
    killed, straight = place.out / "killed", place.out / "straight"
    status = _start({"task": "train", "config": config, "folder": killed, "kill_at": 2}).wait()
    if status != -signal.SIGKILL:
        raise AssertionError(f"the run that was to be killed ended with status {status}")
    train(config, killed, resume=True)
    train(config, straight)
    if audit(killed).wrong:
        raise AssertionError("the ledger of the killed run is not as its order says")
    return _alike(_read(killed), _read(straight), 0.0 if place.device == "cpu" else 0.02)


def two_ranks(place: Place) -> dict[str, Any]:
    """Two ranks on this one device, through gloo, come to the losses of one."""
    config, folder = place.config(), place.out / "two"
    ranks = [
        _start({"task": "rank", "config": config, "folder": folder}, RANK=rank, WORLD_SIZE=2)
        for rank in range(2)
    ]
    if statuses := [rank.wait() for rank in ranks if rank.wait()]:
        raise AssertionError(f"ranks ended with status {statuses}")
    return _alike(_read(folder), _losses(place, "one"), 1e-3 if place.device == "cpu" else 0.02)


def nccl(place: Place) -> dict[str, Any]:
    """One rank adds up through NCCL, and its messages go through gloo."""
    place.needs_cuda()
    task = {"task": "nccl", "config": place.config()}
    if status := _start(task, RANK=0, WORLD_SIZE=1).wait():
        raise AssertionError(f"the rank ended with status {status}")
    return {"nccl": ".".join(map(str, torch.cuda.nccl.version()))}


CHECKS: Mapping[str, Callable[[Place], dict[str, Any]]] = {
    "losses": losses,
    "methods": methods,
    "resume": resume,
    "two ranks, gloo": two_ranks,
    "one rank, nccl": nccl,
}

_PORTS: list[int] = []


def _start(task: dict[str, Any], **environment: Any) -> subprocess.Popen[bytes]:
    text = json.dumps({**task, "config": task["config"].to_json()}, default=str)
    if environment.get("RANK") == 0:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            _PORTS.append(free.getsockname()[1])
    if environment:
        environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": _PORTS[-1]}
    variables = {**os.environ, **{name: str(value) for name, value in environment.items()}}
    child = str(Path(__file__).parent / "child.py")
    return subprocess.Popen([sys.executable, child, text], env=variables)


def _losses(place: Place, name: str, **changes: Any) -> list[float]:
    train(replace(place.config(), **changes), place.out / name)
    return _read(place.out / name)


def _read(folder: Path) -> list[float]:
    """Losses on train and val, epoch by epoch."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [
        round(value, 6) for each in lines for value in (each["train_loss"], each["val"]["loss"])
    ]


def _alike(own: list[float], reference: list[float], most: float) -> dict[str, Any]:
    apart = max(abs(a - b) / b for a, b in zip(own, reference, strict=True))
    if apart > most:
        raise AssertionError(f"losses {own} against {reference}")
    return {"apart": round(apart, 6)}
