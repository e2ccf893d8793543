"""Damage to the files of a stranger, by a seed; some of it with hashes that fit again."""

import hashlib
import io
import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmprep.format import DATASET, FAILURES, INDEX, Dataset
from mmprep.format.dataset import _digest
from mmtrain.training import checkpoint
from tests.support import shardmaker
from tests.support.mutants import mutate_bytes, mutate_hdf5, mutate_json
from tests.support.shardmaker import Recipe, make_shards


def sealed(out: Path) -> None:
    """Makes the description fit what lies in ``out`` now, as one does who means it."""
    dataset = Dataset.from_json((out / DATASET).read_text(), "here")
    shards = tuple(
        replace(shard, bytes=(out / shard.name).stat().st_size, sha256=sha256(out / shard.name))
        for shard in dataset.shards
    )
    files = {name: sha256(out / name) for name in (INDEX, FAILURES)}
    request = {"raw": str(out / "raw"), "seed": 0, "shard_size": 8, "listed": "x"}
    made = replace(dataset, shards=shards, files=files, request=request)
    (out / DATASET).write_text(made.to_json())


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def recipe() -> Recipe:
    return Recipe(samples=8, frames=2, size=(40, 32), columns=12)


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


def in_additions(folder: Path, canary: Path, rng: random.Random) -> object:
    """Damages a table of the index or a value of its description, and makes the hashes fit."""
    if rng.random() < 0.3:
        return in_description(folder, canary, rng)
    kind = mutate_hdf5(folder / INDEX, canary, rng)
    dataset = Dataset.from_json((folder / DATASET).read_text(), "here")
    files = {**dataset.files, INDEX: sha256(folder / INDEX)}
    (folder / DATASET).write_text(replace(dataset, files=files).to_json())
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
        make_shards(folder, recipe())
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
