import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mmtrain.cli import tables
from mmtrain.metrics import by_class, confusion, of_outputs


def found(classes, samples, skipped=0):
    """Class 2 is always taken for class 0, all else is right."""
    names = [f"[bold]c{i}" for i in range(classes)]
    target = torch.arange(samples) % classes
    guess = torch.where(target == 2, 0, target)
    logits = torch.nn.functional.one_hot(guess, classes).float() * 9
    return {
        "run": "runs/joint",
        "method": "joint",
        "best_epoch": 4,
        "split": "test",
        "samples": samples,
        "skipped": skipped,
        "classes": names,
        **of_outputs(logits, {"flow": logits}, target),
        "by_class": by_class(logits, target, names),
        "confusion": confusion(logits, target).tolist(),
        "discrepancy": {"flow": 1.0},
        "missing": [{"rates": {"flow": 0.125}, "draws": 1, **dict.fromkeys(MEASURES, SPREAD)}],
    }


MEASURES = ("accuracy", "map", "macro_f1")
SPREAD = {"mean": 0.25, "std": 0.0}


def shown(parts, capsys):
    tables.show(parts)
    return capsys.readouterr().out


def test_few_classes_are_shown_whole(capsys):
    text = shown(tables.evaluation(found(4, 8)), capsys)
    title, *lines = text.splitlines()
    assert title == "runs/joint: joint, epoch 5, 8 samples of test"
    assert lines[1].split() == ["accuracy", "mAP", "macro-F1", "loss", "discrepancy"]
    (missing,) = (line for line in lines if line.startswith("flow 12.5%"))
    assert missing.split() == ["flow", "12.5%", "1", "0.250", "0.250", "0.250"]
    (matrix,) = (line for line in lines if line.startswith("2 [bold]c2"))
    assert matrix.split()[2:] == ["2", ".", ".", "."]
    assert sum(line.startswith("[bold]c") for line in lines) == 4


def test_of_many_classes_the_worst_are_shown(capsys):
    text = shown(tables.evaluation(found(50, 99)), capsys)
    lines = [line.split() for line in text.splitlines()]
    first = next(line[0] for line in lines if line and line[0].startswith("[bold]"))
    assert first == "[bold]c2"
    assert "class (the worst 20)" in text
    # Twice c2 was taken for c0; there is no other confusion.
    assert lines[-1] == ["[bold]c2", "2", "[bold]c0"]
    assert sum(line[:1] == ["[bold]c2"] for line in lines) == 2


@pytest.mark.parametrize(
    ("skipped", "text"), [(1, "; 1 damaged sample left out"), (2, "; 2 damaged samples left out")]
)
def test_damaged_samples_are_counted(capsys, skipped, text):
    title, *_ = shown(tables.evaluation(found(4, 8, skipped)), capsys).splitlines()
    assert title == f"runs/joint: joint, epoch 5, 8 samples of test{text}"


def test_a_class_without_a_sample_has_no_numbers(capsys):
    text = shown(tables.evaluation(found(4, 3)), capsys)
    (line,) = (line for line in text.splitlines() if line.startswith("[bold]c3"))
    assert line.split()[1:] == ["0", "-", "-", "-"]


@pytest.mark.parametrize("command", ["eval", "probe", "compare"])
def test_help_as_a_module_imports_nothing_heavy(command):
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['mmtrain', {command!r}, '--help']\n"
        "try:\n    runpy.run_module('mmtrain', run_name='__main__')\nexcept SystemExit:\n    pass\n"
        "assert not {'torch', 'numpy', 'rich'} & set(sys.modules)\n"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=root
    )
    assert done.stdout.startswith(f"Usage: mmtrain {command} ")


def test_tables_of_other_tasks_have_their_measures(task_run, capsys):
    def table_of(task):
        report = json.loads((task_run(task) / "eval-test.json").read_text())
        return shown(tables.evaluation(report), capsys)

    scores = table_of("regression")
    # Ten columns would not fit: each measure has a row of its own.
    assert re.search(r"^ +fused +audio +flow$", scores, re.MULTILINE)
    assert re.search(r"^Acc-2 nonzero +\d\.\d{3} ", scores, re.MULTILINE)
    assert re.search(r"^missing +audio 50%$", scores, re.MULTILINE)
    assert "discrepancy" not in scores
    assert "predicted" not in scores
    segments = table_of("localisation").splitlines()
    assert "background alone" in segments[2]
    (places,) = (line.split() for line in segments if line.startswith("segment "))
    assert places == ["segment", "1", "2", "3", "4"]
    types = table_of("answers")
    assert re.search(r"group +samples +accuracy +audio +flow", types)
    assert re.search(r"Audio Counting +3 ", types)
