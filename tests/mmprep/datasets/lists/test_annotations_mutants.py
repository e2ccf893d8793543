"""Damaged lists are read or refused by name, whatever their bytes."""

import json
import random
import shutil
from pathlib import Path

import pytest

from mmprep.datasets import spec
from mmprep.datasets.lists import Lists, read
from mmprep.errors import MmprepError
from tests.mmprep.datasets.lists.test_annotations_questions import question
from tests.mmprep.datasets.lists.test_annotations_texts import FOURS, HEADER, ROWS
from tests.mmprep.datasets.lists.test_annotations_turns import EVALUATION, TRANSCRIPT
from tests.support.mosi import write_csd, write_pickle
from tests.support.mutants import mutate_bytes

_DIALOG = "Session1/dialog"
_FOLDS = "standard_train_fold = ['a']\nstandard_valid_fold = ['b']\nstandard_test_fold = []\n"
_EVENTS = "Cat&aaaaaaaaaaa&good&3&7\nBark&b&good&0&10\n"
# Data set, variant, the lists with their texts.
LISTS: dict[str, tuple[str, str | None, dict[str, str]]] = {
    "tsv": ("twitter2015", None, {"train.tsv": HEADER + ROWS, "dev.tsv": "", "test.tsv": ROWS}),
    "txt": ("twitter2015", None, {"train.txt": FOURS, "dev.txt": FOURS, "test.txt": ""}),
    "literals": (
        *("sarcasm", None),
        {"train.txt": "['1', \"it 's\", 1]\n", "valid2.txt": "['2', 'x', 0, 1]", "test2.txt": ""},
    ),
    "tags": ("mvsa-single", None, {"labels.csv": "guid,tag\n1,positive\n2,neutral\n"}),
    "turns": (
        *("iemocap", None),
        {
            "my_train_iemo.txt": "Ses01F_impro01_F000.mp4 [split|sign] a [split|sign] Sad\n",
            "my_test_iemo.txt": "Ses01F_impro01_M000,Happy\n",
            f"{_DIALOG}/EmoEvaluation/Ses01F_impro01.txt": EVALUATION,
            f"{_DIALOG}/transcriptions/Ses01F_impro01.txt": TRANSCRIPT,
        },
    ),
    "questions": (
        *("music-avqa", None),
        {
            "avqa-train.json": json.dumps([question(), question(number=13)]),
            **dict.fromkeys(("avqa-val.json", "avqa-test.json"), "[]"),
        },
    ),
    "events": (
        *("ave-segments", None),
        {"trainSet.txt": _EVENTS, **dict.fromkeys(("valSet.txt", "testSet.txt"), "")},
    ),
    "pickle": ("cmu-mosi", None, {}),
    "sdk": ("cmu-mosi", "sdk", {"cmu_mosi_std_folds.py": _FOLDS}),
}


def write_lists(folder: Path, kind: str) -> list[Path]:
    """Writes sound lists; returns those that a stranger may have made."""
    folder.mkdir()
    for name, text in LISTS[kind][2].items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    if kind == "pickle":
        scores = {"train": [1.0, -2.0], "valid": [0.5], "test": [3.0]}
        write_pickle(folder / "mosi_data.pkl", scores, steps=1)
    if kind == "sdk":
        table = {"a": ([[1.0]], [[0, 1]]), "b": ([[2.0]], [[0, 1]])}
        write_csd(folder / "CMU_MOSI_Opinion_Labels.csd", table)
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("kind", LISTS)
def test_a_damaged_list_is_read_or_refused_by_name(tmp_path: Path, kind: str) -> None:
    name, variant, _ = LISTS[kind]
    data = spec.load(name, variant)
    sound, damaged = tmp_path / "sound", tmp_path / "damaged"
    files = [path.relative_to(sound) for path in write_lists(sound, kind)]
    assert read(Lists(None, sound), data)
    refusals = []
    for seed in range(60):
        rng = random.Random(f"{kind} {seed}")
        shutil.rmtree(damaged, ignore_errors=True)
        shutil.copytree(sound, damaged)
        path = damaged / rng.choice(files)
        path.write_bytes(mutate_bytes(path.read_bytes(), rng))
        try:
            read(Lists(None, damaged), data)
        except MmprepError as error:
            refusals.append(str(error))
    # Damage that changes nothing would show nothing.
    assert len(refusals) > 3
    assert all(refusals)
