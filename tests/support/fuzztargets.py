"""Damaged files and their readers: a target for each kind of file that a stranger may send."""

import hashlib
import io
import json
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from mmprep.build.plan import Plan, Task
from mmprep.build.repair import repair
from mmprep.build.shard import ShardResult
from mmprep.config import PartsConfig
from mmprep.format import DATASET, FAILURES, INDEX, Dataset, read_members
from mmprep.format.dataset import _digest
from mmprep.inspection.info import print_summary, summarise
from mmprep.inspection.page.assemble import data_set_page
from mmprep.inspection.picture.header import chips, facts
from mmprep.inspection.picture.view import View
from mmprep.inspection.verify import verify
from mmprep.manifest import Row
from mmprep.shards import Shards
from mmprep.storage.store import LocalStore
from mmtrain.curricula.uniform import Uniform
from mmtrain.data import OrderedStream, open_dataset
from mmtrain.data import View as Shown
from mmtrain.evaluation.audit import audit
from mmtrain.evaluation.open_run import open_run
from mmtrain.report.render import report_page
from mmtrain.report.runs.read import read_runs
from mmtrain.training import checkpoint, ledger, scores
from mmtrain.training.train import train
from tests.support import shardmaker
from tests.support.enginework import small
from tests.support.mutants import mutate_bytes, mutate_hdf5, mutate_json
from tests.support.reportwork import evaluation, make_run, probe
from tests.support.shardmaker import Recipe, make_shards

SHARD = "train/000000.tar"
MODALITIES = ("audio", "visual", "flow")


@dataclass(frozen=True, kw_only=True)
class Target:
    """One kind of file.

    Attributes:
        tree: Name of the pristine folder that is copied for each mutant.
        damage: Function that damages a copy, given a canary file and the source of damage.
        read: Function that reads the copy as commands do, and returns what it held.
        checked: Whether the format has a checksum over all of it, so that what is read without an
            error must equal the original.
        share: How often it is chosen, in parts.
    """

    tree: str
    damage: Callable[[Path, Path, random.Random], object]
    read: Callable[[Path], str]
    checked: bool = False
    share: int = 2


def make_trees(home: Path) -> None:
    """Writes the pristine folders."""
    sealed(make_shards(home / "data", _recipe()).store.root)
    make_shards(home / "shards", Recipe(samples=36, frames=1, size=(32, 32), columns=40))
    _make_build(home / "build")
    report = make_run(home / "report" / "a")
    (report / "eval-test.json").write_text(json.dumps(evaluation()))
    (report / "probe-test.json").write_text(json.dumps(probe()))
    config = small(home / "shards", epochs=1, method="joint", curriculum="bss-l")
    train(replace(config, modalities=("audio", "visual")), home / "run")


def sealed(out: Path) -> None:
    """Makes the description fit what lies in ``out`` now, as one does who means it."""
    dataset = Dataset.from_json((out / DATASET).read_text(), "here")
    shards = tuple(
        replace(shard, bytes=(out / shard.name).stat().st_size, sha256=_sha256(out / shard.name))
        for shard in dataset.shards
    )
    files = {name: _sha256(out / name) for name in (INDEX, FAILURES)}
    request = {"raw": str(out / "raw"), "seed": 0, "shard_size": 8, "listed": "x"}
    made = replace(dataset, shards=shards, files=files, request=request)
    (out / DATASET).write_text(made.to_json())


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _recipe() -> Recipe:
    return Recipe(samples=8, frames=2, size=(40, 32), columns=12)


def _make_build(out: Path) -> None:
    row = Row(key="a", label="x", split="train", sources={"video": "a.mp4"}, start=0.5)
    plan = Plan(
        name="n",
        title="t",
        classes=("x",),
        modalities=("audio",),
        licence="",
        parts=PartsConfig(),
        raw="raw",
        seed=0,
        shard_size=4,
        listed="x",
        absent=shardmaker.FAILURES_MADE,
        made_by={"mmprep": "0"},
        tasks=(Task(name="train/000000", split="train", rows=(row,)),),
    )
    result = ShardResult(
        task="train/000000",
        shard=None,
        entries=(),
        labels=(),
        failures=shardmaker.FAILURES_MADE,
        seconds={"open": 0.5},
    )
    (out / "_build").mkdir(parents=True)
    (out / "_build/plan.json").write_text(plan.to_json())
    (out / "_build/result.json").write_bytes(result.to_json())
    (out / "_build/repair.json").write_text(json.dumps([SHARD, INDEX]))
    line = {**asdict(shardmaker.FAILURES_MADE[2]), "task": "train/000000", "row": asdict(row)}
    (out / FAILURES).write_text(json.dumps(line) + "\n")


# Damage.


def in_bytes(*names: str) -> Callable[[Path, Path, random.Random], object]:
    """Damages the bytes of one of the files."""

    def damage(folder: Path, canary: Path, rng: random.Random) -> None:
        path = folder / rng.choice(names)
        path.write_bytes(mutate_bytes(path.read_bytes(), rng))

    return damage


def in_json(*names: str) -> Callable[[Path, Path, random.Random], object]:
    """Damages a value, or the bytes, of one of the JSON files; of the first line of JSON lines."""

    def damage(folder: Path, canary: Path, rng: random.Random) -> None:
        path = folder / rng.choice(names)
        first, end, rest = path.read_bytes().partition(b"\n")
        lines = path.suffix == ".jsonl"
        text = first if lines else path.read_bytes()
        text = mutate_bytes(text, rng) if rng.random() < 0.3 else mutate_json(text, rng)
        path.write_bytes(text.replace(b"\n", b" ") + end + rest if lines else text)

    return damage


def in_description(folder: Path, canary: Path, rng: random.Random) -> None:
    """Damages a value of dataset.json, and makes its hashes fit."""
    path = folder / DATASET
    path.write_bytes(mutate_json(path.read_bytes(), rng, _described))


def _described(plain: Any) -> bytes:
    content = {k: v for k, v in plain.items() if k not in ("format", "root", "checksum")}
    root = _digest({k: v for k, v in content.items() if k != "request"})
    head = {"format": plain["format"], "root": root, "checksum": _digest(content)}
    return (json.dumps({**head, **content}, indent=1, ensure_ascii=False) + "\n").encode()


def in_index(folder: Path, canary: Path, rng: random.Random) -> object:
    """Damages bytes or a table of index.h5, and makes dataset.json fit."""
    path, kind = folder / INDEX, "bytes"
    if rng.random() < 0.3:
        path.write_bytes(mutate_bytes(path.read_bytes(), rng))
    else:
        kind = mutate_hdf5(path, canary, rng)
    sealed(folder)
    return kind


def in_tables(folder: Path, canary: Path, rng: random.Random) -> object:
    """Damages bytes or a table of scores.h5 or of one of its rows."""
    path = rng.choice([folder / "scores.h5", *(folder / "scores").glob("*.h5")])
    if rng.random() < 0.3:
        return path.write_bytes(mutate_bytes(path.read_bytes(), rng))
    return mutate_hdf5(path, canary, rng)


def in_members(folder: Path, canary: Path, rng: random.Random) -> object:
    """Damages record, pictures or spectrograms of a data set whose checksums fit."""
    part = rng.choice(("json", "frames", "spectrogram", "flow"))
    make = shardmaker._payload

    def damaged(recipe: Recipe, i: int, changes: dict[str, Any]) -> Any:
        payload = {name: list(data) for name, data in make(recipe, i, changes).items()}
        if part == "json" and rng.random() < 0.8:
            payload[part][0] = mutate_json(payload[part][0], rng)
        elif part == "frames" and rng.random() < 0.2:
            payload[part][0] = _claiming(payload[part][0], rng.choice((255, 9000, 65500)))
        elif part == "spectrogram" and rng.random() < 0.4:
            header = {
                "descr": rng.choice(("<f2", "|O", "<f8")),
                "fortran_order": rng.random() < 0.1,
            }
            file = io.BytesIO()
            sizes = (-1, 0, 12, 10**9, 2**63)
            shape = (rng.choice(sizes), rng.choice(sizes))
            np.lib.format.write_array_header_1_0(file, {**header, "shape": shape})
            payload[part][0] = file.getvalue() + bytes(rng.choice((0, 100, 6168)))
        else:
            payload[part][0] = mutate_bytes(payload[part][0], rng)
        return payload

    shardmaker._payload = damaged
    try:
        make_shards(folder, _recipe())
    finally:
        shardmaker._payload = make
    return part


def _claiming(picture: bytes, side: int) -> bytes:
    at = picture.index(b"\xff\xc0") + 5
    return picture[:at] + 2 * side.to_bytes(2) + picture[at + 4 :]


def in_state(folder: Path, canary: Path, rng: random.Random) -> object:
    """Damages a value of a checkpoint, and seals it."""
    path = folder / rng.choice(("checkpoint.pt", "best.pt"))
    state = checkpoint.load(path)
    state.pop("format")
    name = rng.choice(sorted(state))
    holder: Any = state
    while isinstance(holder[name], dict) and holder[name] and rng.random() < 0.7:
        holder = holder[name]
        name = rng.choice(sorted(holder, key=str))
    if rng.random() < 0.3:
        del holder[name]
    else:
        holder[name] = rng.choice((None, -1, 10**9, "x", [], {}, [1, "a"], torch.ones(3)))
    checkpoint.save(path, state)
    return name


# Reading.


def read_data_set(folder: Path) -> str:
    """All that a data set holds, by mmprep."""
    digest = hashlib.sha256()
    with Shards(LocalStore(folder)) as shards:
        digest.update(shards.dataset.to_json().encode())
        for name in ("label", "split", "shard", "start", "counts", "size", "crc"):
            digest.update(np.ascontiguousarray(getattr(shards.index, name)).tobytes())
        for row in range(len(shards.index)):
            for part in shards.read(row).values():
                digest.update(b"".join(part))
    return digest.hexdigest()


def read_shard(folder: Path) -> str:
    """Members of a shard as read forward, after `verify`, whose verdict belongs to it."""
    problems = verify(LocalStore(folder)).problems
    with (folder / SHARD).open("rb") as file:
        members = [(name, len(data)) for name, _, data in read_members(file, SHARD)]
    # `verify` has the last word; without it, read_members knows no checksum.
    return "bad" if problems else repr(members)


def look_at_data_set(folder: Path) -> str:
    """A data set as pages, pictures and training show it."""
    console = Console(file=io.StringIO())
    with Shards(LocalStore(folder)) as shards:
        print_summary(summarise(shards), console)
        for row in range(min(3, len(shards.index))):
            view = View.at(shards, row)
            list(facts(view))
            list(chips(view.checks))
        data_set_page(shards, thumbnails=2)
    verify(LocalStore(folder))
    with open_dataset(str(folder)) as dataset:
        modalities = [m for m in MODALITIES if m in dataset.modalities]
        stream = OrderedStream(dataset, modalities, 2, Shown(frames=1, size=16))
        order = Uniform().visits(dataset.ids("train"), 0, 0)
        stream.begin(order, seed=0, epoch=0)
        for _ in stream:
            pass
    return "seen"


def read_build(folder: Path) -> str:
    """State of an unfinished build."""
    state = folder / "_build"
    Plan.from_json((state / "plan.json").read_bytes(), "plan.json")
    ShardResult.from_json((state / "result.json").read_bytes(), "result.json")
    return "read"


def finish_repair(folder: Path) -> str:
    """A repair that was killed after its journal, and one of failed clips."""
    repair(str(folder), raw=folder / "no raw clips")
    return "repaired"


def read_report(folder: Path) -> str:
    """A page over a run."""
    records = read_runs([folder / "a"])
    return str(len(report_page(records)))


def read_weights(folder: Path) -> str:
    """All that checkpoint.pt and best.pt hold."""
    digest = hashlib.sha256()
    for name in ("checkpoint.pt", "best.pt"):
        _hash(checkpoint.load(folder / name), digest)
    return digest.hexdigest()


def _hash(value: Any, digest: Any) -> None:
    if isinstance(value, dict):
        for name, each in value.items():
            digest.update(repr(name).encode())
            _hash(each, digest)
    elif isinstance(value, (list, tuple)):
        for each in value:
            _hash(each, digest)
    elif hasattr(value, "numpy"):
        digest.update(value.contiguous().numpy().tobytes())
    else:
        digest.update(repr(value).encode())


def use_run(folder: Path) -> str:
    """Opens a run to evaluate it, goes on with it and audits it."""
    with open_run(folder) as run:
        run.evaluate("val")
    audit(folder)
    return "used"


def read_tables(folder: Path) -> str:
    """scores.h5 and the ledger."""
    scores.read(folder / "scores.h5")
    return str(len(ledger.visits(folder / "ledger", 0)))


_LEDGER = "ledger/epoch-00000.rank0.npy"
TARGETS = {
    "dataset.json": Target(tree="data", damage=in_json(DATASET), read=read_data_set, checked=True),
    "dataset.json, sealed": Target(
        tree="data", damage=in_description, read=look_at_data_set, share=4
    ),
    "index.h5": Target(tree="data", damage=in_bytes(INDEX), read=read_data_set, checked=True),
    "index.h5, sealed": Target(tree="data", damage=in_index, read=look_at_data_set, share=5),
    "tar, by index": Target(tree="data", damage=in_bytes(SHARD), read=read_data_set),
    "tar, forward": Target(tree="data", damage=in_bytes(SHARD), read=read_shard),
    "members, sealed": Target(tree="data", damage=in_members, read=look_at_data_set, share=5),
    "plan and sidecar": Target(
        tree="build", damage=in_json("_build/plan.json", "_build/result.json"), read=read_build
    ),
    "journal": Target(
        tree="build", damage=in_json("_build/repair.json"), read=finish_repair, share=1
    ),
    "report": Target(
        tree="report",
        damage=in_json(
            *(
                f"a/{n}"
                for n in (
                    "config.json",
                    "metrics.jsonl",
                    "result.json",
                    "eval-test.json",
                    "probe-test.json",
                )
            )
        ),
        read=read_report,
        share=4,
    ),
    "weights": Target(
        tree="run",
        damage=in_bytes("best.pt", "checkpoint.pt"),
        read=read_weights,
        checked=True,
        share=3,
    ),
    "weights, sealed": Target(tree="run", damage=in_state, read=use_run, share=2),
    "scores": Target(tree="run", damage=in_tables, read=read_tables, share=3),
    "ledger": Target(tree="run", damage=in_bytes(_LEDGER), read=use_run, share=1),
    "run": Target(
        tree="run", damage=in_json("config.json", "metrics.jsonl"), read=use_run, share=2
    ),
}
