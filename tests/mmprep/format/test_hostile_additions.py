"""Columns of format 2 from a stranger: each that does not fit is refused when the index opens."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from mmprep.errors import DataError
from mmprep.format import DATASET, INDEX
from mmprep.inspection.verify import verify
from mmprep.manifest import Row
from mmprep.shards import Shards, read_dataset
from mmprep.storage.store import LocalStore
from mmtrain.data import open_dataset
from tests.support import mutants
from tests.support.rowmaker import clips_with_questions, make_rows

QUESTIONS = ("group", "groups", "question", "questions")


@pytest.fixture
def asked(tmp_path: Path) -> Path:
    make_rows(tmp_path / "asked", clips_with_questions())
    return tmp_path / "asked"


@pytest.fixture
def scored(tmp_path: Path) -> Path:
    plain = {"label": "x", "split": "train", "sources": {"video": "a.mp4"}}
    rows = [Row(key=f"k{i}", target=(float(i), 0.5), **plain) for i in range(4)]
    make_rows(tmp_path / "scored", rows, parts=("frames",))
    return tmp_path / "scored"


def refuses(out: Path, message: str) -> None:
    """Seals the description over the index as it is now, and expects a refusal by name."""
    dataset = read_dataset(LocalStore(out))
    files = {**dataset.files, INDEX: hashlib.sha256((out / INDEX).read_bytes()).hexdigest()}
    (out / DATASET).write_text(replace(dataset, files=files).to_json())
    for opened in (lambda: Shards(LocalStore(out)), lambda: open_dataset(str(out))):
        with pytest.raises(DataError, match=message) as caught:
            opened()
        assert "index.h5" in str(caught.value)
    assert any(problem.path == INDEX for problem in verify(LocalStore(out)).problems)


# Kinds that leave a table plain, whose values the tests below check; bytes have no order to swap.
PLAIN = {"one value", "other numbers"}
CASES = [
    (table, kind)
    for table in ("target", *QUESTIONS)
    for kind in sorted({*mutants.KINDS} - PLAIN)
    if kind not in ("swapped bytes", "largest values") or table != "groups"
]


@pytest.mark.parametrize(("table", "kind"), CASES)
def test_a_table_that_is_no_plain_column_is_refused(
    asked: Path, scored: Path, tmp_path: Path, table: str, kind: str
) -> None:
    out = scored if table == "target" else asked
    canary = tmp_path / "canary.h5"
    with h5py.File(canary, "w") as file:
        file["canary"] = np.full(4096, 7, np.uint32)
    with h5py.File(out / INDEX, "r+") as file:
        values = np.asarray(file[table])
        del file[table]
        mutants.KINDS[kind](file, table, values, canary)
    refuses(out, "index")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_targets_that_are_no_numbers_are_refused(scored: Path, value: float) -> None:
    with h5py.File(scored / INDEX, "r+") as file:
        file["target"][2, 1] = value
    refuses(scored, "column 'target' holds no finite numbers")


@pytest.mark.parametrize("name", ["target", *QUESTIONS])
def test_half_an_addition_is_refused(asked: Path, scored: Path, name: str) -> None:
    out = scored if name == "target" else asked
    with h5py.File(out / INDEX, "r+") as file:
        del file[name]
    refuses(out, r"names other additions|lacks|index")


def test_a_column_that_the_description_does_not_name_is_refused(scored: Path) -> None:
    with h5py.File(scored / INDEX, "r+") as file:
        file["group"] = np.zeros(4, "<u2")
        file["groups"] = np.array([b"x"])
    refuses(scored, r"names other additions than dataset\.json")


def put(table: str, row: int, value: object) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        file[table][row] = value

    return change


def key_of(row: int, value: bytes) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        keys = np.asarray(file["key"]).astype("S20")
        keys[row] = value
        del file["key"]
        file["key"] = keys

    return change


# Rows of the clip `clip2`, which has three questions.
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda at: put("group", at, 9), "'group' points outside its 3 names"),
        (lambda at: put("question", at, 1), "'question' does not number the rows"),
        (lambda at: put("question", at + 1, 0), "'quest"),
        (lambda at: put("question", at + 2, 7), "'question' does not number the rows"),
        (lambda at: put("questions", at, 2), "'questions' does not count the rows"),
        (lambda at: put("questions", at, 65535), "'questions' does not count the rows"),
        (lambda at: put("questions", at + 1, 2), "'questions' differs between questions"),
        (lambda at: put("questions", at + 1, 0), "'questions' differs between questions"),
        (lambda at: put("split", at + 1, 0), "'split' differs between questions"),
        (lambda at: put("shard", at + 1, 0), "'shard' differs between questions"),
        (lambda at: put("start", at + 2, 0), "'start' differs between questions"),
        (lambda at: put("first", at + 1, 0), "'first' differs between questions"),
        (lambda at: put("counts", at + 1, [1, 2, 1, 1]), "'counts' differs between questions"),
        (lambda at: put("counts", slice(at, at + 3), [1, 3, 1, 2]), "with other members"),
        (lambda at: put("counts", slice(at, at + 3), [1, 3, 2, 1]), "do not add up"),
        (lambda at: key_of(at + 1, b"clip9-q21"), "that does not fit its clip"),
        (lambda at: key_of(at, b"clip2-20"), "that does not fit its clip"),
        (lambda at: key_of(at + 2, b"clip2-q"), "that does not fit its clip"),
        (lambda at: key_of(at + 2, b"clip2-q2-q2"), "that does not fit its clip"),
        (lambda at: key_of(at, b"-q20"), "that does not fit its clip"),
    ],
)
def test_questions_that_do_not_fit_their_clip_are_refused(
    asked: Path, change: Callable[[int], Callable[[h5py.File], None]], message: str
) -> None:
    with Shards(LocalStore(asked)) as shards:
        at = shards.index.find("clip2-q20")
        assert shards.index.shard[at] > 0
    with h5py.File(asked / INDEX, "r+") as file:
        change(at)(file)
    refuses(asked, message)


def test_questions_need_a_first_one(asked: Path) -> None:
    with h5py.File(asked / INDEX, "r+") as file:
        file["question"][...] = 1
    refuses(asked, "'question' does not begin at 0")
