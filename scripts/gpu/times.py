"""How fast a device trains, and whether the data keep up."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch
from checks import Place, Skipped

from mmtrain.config.run import TrainConfig, ViewConfig
from mmtrain.training.assemble import assemble
from mmtrain.training.device import autocast, compile_encoders
from mmtrain.training.parts import fitted, shards_of
from mmtrain.training.prefetch import PassThrough
from mmtrain.training.run import METRICS, Run


def timed(place: Place, **changes: Any) -> TrainConfig:
    """ResNet-18 on whole pictures, 64 a batch, in bf16; on a CPU only as much as shows a run."""
    cuda = place.device == "cuda"
    given: dict[str, Any] = {
        "data": str(place.large),
        "encoder": "resnet18" if cuda else "small-cnn",
        "settings": {},
        "batch_size": 64 if cuda else 8,
        "precision": "bf16",
        "view": ViewConfig(frames=3 if cuda else 1, size=224 if cuda else 64),
        "workers": None if cuda else 2,
        "epochs": 3 if cuda else 1,
    }
    return place.config(**{**given, **changes})


@contextmanager
def running(config: TrainConfig, folder: Path) -> Iterator[Run]:
    """A run that is not trained yet."""
    folder.mkdir(parents=True)
    with (
        shards_of(config) as dataset,
        assemble(fitted(config, dataset), dataset, folder) as run,
    ):
        yield run


def synchronise() -> float:
    """The time, with the GPU done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def step_time(place: Place) -> dict[str, Any]:
    """Milliseconds a step on batches in memory, and with one thing at a time left out or added."""
    variants: dict[str, Callable[[Run], object]] = {
        "all": lambda run: None,
        "no prefetch": lambda run: setattr(run, "prefetcher", PassThrough(run.device)),
        "no channels-last": lambda run: run.model.to(memory_format=torch.contiguous_format),
        "no benchmark": lambda run: setattr(torch.backends.cudnn, "benchmark", False),
        "compiled": lambda run: compile_encoders(run.model, True),
    }
    if place.device != "cuda":
        # They differ in nothing there, and compiling takes a compiler.
        variants = {name: variants[name] for name in ("all", "no prefetch")}
    return {
        f"{name}, ms": _step_ms(place, place.out / f"steps-{i}", change)
        for i, (name, change) in enumerate(variants.items())
    }


def _step_ms(place: Place, folder: Path, change: Callable[[Run], object]) -> float:
    warm, steps = (20, 60) if place.device == "cuda" else (1, 2 if place.quick else 10)
    benchmark = torch.backends.cudnn.benchmark
    try:
        with running(timed(place), folder) as run:
            run.feed.begin(run.curriculum.visits(run.ids, 0, 0), 0)
            readings = [*islice(run.feed, 3)]
            run.model.train()
            change(run)
            begin = 0.0
            source = run.prefetcher.over(islice(cycle(readings), warm + steps))
            for step, (_, here) in enumerate(source):
                if step == warm:
                    begin = synchronise()
                with autocast(run.device, run.config.precision):
                    run.method.step(run, here)
            return round(1e3 * (synchronise() - begin) / steps, 3)
    finally:
        torch.backends.cudnn.benchmark = benchmark


def feeding(place: Place) -> dict[str, Any]:
    """Samples a second from shards, and the share of the time in which the device has no batch."""
    folder = place.out / "feeding"
    with running(timed(place), folder) as run:
        run.method.fit(run)
    last = json.loads((folder / METRICS).read_text().splitlines()[-1])
    return {"samples/s": last["samples_per_s"], "idle share": last["data_wait"]}


def launches(place: Place) -> dict[str, Any]:
    """Thousand kernels a second that one thread launches, without and with threads that decode."""
    place.needs_cuda()
    value = torch.zeros(1, device=place.device)
    alone = _launches(value)
    with running(timed(place), place.out / "launches") as run:
        done = threading.Event()
        reader = threading.Thread(target=_read_until, args=(run, done))
        reader.start()
        try:
            beside = _launches(value)
        finally:
            done.set()
            reader.join()
    return {"stream idle, k/s": alone, "stream busy, k/s": beside}


def _launches(value: torch.Tensor, count: int = 100_000) -> float:
    begin = synchronise()
    for _ in range(count):
        value.add_(1)
    return round(count / (synchronise() - begin) / 1e3, 1)


def _read_until(run: Run, done: threading.Event) -> None:
    for epoch in range(1_000):
        run.feed.begin(run.curriculum.visits(run.ids, 0, epoch), epoch)
        for _ in run.feed:
            if done.is_set():
                return


TIMES: Mapping[str, Callable[[Place], dict[str, Any]]] = {
    "step time": step_time,
    "fed from shards": feeding,
    "launches": launches,
}

__all__ = ["TIMES", "Skipped"]
