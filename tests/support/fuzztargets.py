"""Damaged files and their readers: a target for each kind of file that a stranger may send."""

import hashlib
import io
import json
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from mmprep.build.extend import known_clips
from mmprep.build.plan import Plan, Task
from mmprep.build.repair import repair
from mmprep.build.shard import ShardResult
from mmprep.config import PartsConfig
from mmprep.errors import DataError
from mmprep.format import DATASET, FAILURES, INDEX, Answer, read_members
from mmprep.format.tar import SampleEntry
from mmprep.inspection.info import print_summary, summarise
from mmprep.inspection.page.assemble import data_set_page
from mmprep.inspection.picture.header import chips, facts
from mmprep.inspection.picture.view import View
from mmprep.inspection.verify import verify
from mmprep.manifest import Question, Row
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
from tests.support.fuzzdamage import (
    in_additions,
    in_bytes,
    in_description,
    in_index,
    in_json,
    in_members,
    in_state,
    in_tables,
    recipe,
    sealed,
)
from tests.support.fuzzsources import (
    ARRAYS,
    PICTURES,
    in_csd,
    in_pickle,
    read_arrays,
    read_samples,
    write_sources,
)
from tests.support.reportwork import evaluation, make_run, probe
from tests.support.rowmaker import clips_with_questions, make_rows
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
    sealed(make_shards(home / "data", recipe()).store.root)
    make_shards(home / "shards", Recipe(samples=36, frames=1, size=(32, 32), columns=40))
    make_rows(home / "asked", clips_with_questions(), task="answers")
    write_sources(home / "raw")
    _make_build(home / "build")
    report = make_run(home / "report" / "a")
    (report / "eval-test.json").write_text(json.dumps(evaluation()))
    (report / "probe-test.json").write_text(json.dumps(probe()))
    config = small(home / "shards", epochs=1, method="joint", curriculum="bss-l")
    train(replace(config, modalities=("audio", "visual")), home / "run")


def _make_build(out: Path) -> None:
    row = Row(
        key="a",
        label="",
        split="train",
        sources={"video": "a.mp4"},
        start=0.5,
        texts={"text": "t"},
        questions=(Question(id="1", text="?", label="x", group="g"),),
    )
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
        entries=(
            SampleEntry(
                key="b",
                start=0,
                counts=(1,),
                sizes=(2,),
                crcs=(3,),
                answers=(Answer(id="1", label="x"),),
            ),
        ),
        labels=("",),
        failures=shardmaker.FAILURES_MADE,
        seconds={"open": 0.5},
    )
    (out / "_build").mkdir(parents=True)
    (out / "_build/plan.json").write_text(plan.to_json())
    (out / "_build/result.json").write_bytes(result.to_json())
    (out / "_build/repair.json").write_text(json.dumps([SHARD, INDEX]))
    line = {**asdict(shardmaker.FAILURES_MADE[2]), "task": "train/000000", "row": row.to_json()}
    (out / FAILURES).write_text(json.dumps(line) + "\n")


def read_data_set(folder: Path) -> str:
    """All that a data set holds, by mmprep."""
    digest = hashlib.sha256()
    with Shards(LocalStore(folder)) as shards:
        digest.update(shards.dataset.to_json().encode())
        names = ("label", "split", "shard", "start", "counts", "size", "crc")
        for name in (*names, "target", "group", "question", "questions"):
            column = getattr(shards.index, name)
            digest.update(b"" if column is None else np.ascontiguousarray(column).tobytes())
        for row in range(len(shards.index)):
            for part in shards.read(row).values():
                digest.update(b"".join(part))
    return digest.hexdigest()


def read_rows(folder: Path) -> str:
    """Rows of a data set with questions, one by one, all at once and as an extension reads them."""
    with Shards(LocalStore(folder)) as shards:
        print_summary(summarise(shards), Console(file=io.StringIO()))
        index = shards.index
        for row in range(len(index)):
            with suppress(DataError):
                shards.read(row)
        index.layout(np.arange(len(index)))
        known_clips(shards.store, shards.dataset)
    verify(LocalStore(folder))
    return "read"


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
    "index.h5 of questions": Target(
        tree="asked", damage=in_bytes(INDEX), read=read_data_set, checked=True, share=1
    ),
    "questions, sealed": Target(tree="asked", damage=in_additions, read=read_rows, share=4),
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
    "pickle": Target(
        tree="raw", damage=in_pickle, read=read_arrays("0.pkl#valid/audio/1", "0.pkl"), share=3
    ),
    "csd": Target(tree="raw", damage=in_csd, read=read_arrays("a.csd#s", span=(0, 9)), share=3),
    "arrays": Target(
        tree="raw",
        damage=in_bytes(*(name.partition("#")[0] for name in ARRAYS)),
        read=read_arrays(*ARRAYS),
    ),
    "pictures": Target(
        tree="raw",
        damage=in_bytes(*PICTURES),
        read=read_samples(*({"image": name} for name in PICTURES)),
    ),
    "texts": Target(
        tree="raw", damage=in_bytes("a.txt"), read=read_samples({"text": "a.txt"}), share=1
    ),
}
