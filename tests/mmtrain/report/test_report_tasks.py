"""Pages of runs of other tasks: their columns, scores, segments and types of question."""

import json
import re
import shutil

import pytest

from mmtrain.errors import DataError
from mmtrain.report import write
from mmtrain.report.runs.read import read_runs
from mmtrain.report.tensorboard import scalars
from tests.support.reportwork import Page


def page_of(tmp_path, *runs):
    path = tmp_path / "report.html"
    write(runs, path)
    text = path.read_text(encoding="utf-8")
    assert not re.search(r'="-?(nan|inf)"', text)
    return Page(text)


def test_scores_have_their_columns_and_a_scatter_in_place_of_confusions(task_run, tmp_path):
    run = task_run("regression")
    page = page_of(tmp_path, run)

    error = json.loads((run / "result.json").read_text())["test"]["mae"]
    for title in ("MAE", "Corr", "Acc-7", "Acc-5", "Acc-2 nonzero", "F1 nonnegative"):
        assert title in page.text
    assert "Percent, but for MAE and Corr, at the epoch" in page.text
    assert f"test MAE {error:.3f} " in page.text
    assert "true score" in page.text
    assert "Confusion: share" not in page.text
    assert "MAE without audio" in page.text
    assert "Discrepancy ratio" not in page.text


def test_of_two_groups_the_lower_error_is_the_best_and_no_cell_is_bold(task_run, tmp_path):
    worse = tmp_path / "worse"
    shutil.copytree(task_run("regression"), worse)
    config = json.loads((worse / "config.json").read_text())
    (worse / "config.json").write_text(json.dumps({**config, "epochs": 3}))
    result = json.loads((worse / "result.json").read_text())
    result["val"]["mae"] = 9.0
    (worse / "result.json").write_text(json.dumps(result))

    page = page_of(tmp_path, task_run("regression"), worse)

    error = json.loads((task_run("regression") / "result.json").read_text())["val"]["mae"]
    assert "test MAE of the best on val" in page.text
    text = (tmp_path / "report.html").read_text()
    table, *_ = re.findall(r'<table class="wide">.*?</table>', text, re.DOTALL)
    assert f"{error:.3f}" in table
    assert "9.000" in table
    assert "<b>" not in table


def test_segments_and_types_of_question_are_shown(task_run, tmp_path):
    segments = page_of(tmp_path, task_run("localisation"))
    assert "background alone" in segments.text
    assert "accuracy by segment (%)" in segments.text
    assert "Confusion: share" in segments.text

    answers = page_of(tmp_path, task_run("answers"))
    assert "Accuracy by type (%)" in answers.text
    assert "Visual Location" in answers.text


def test_runs_of_different_tasks_stand_on_one_page(task_run, tmp_path):
    page = page_of(tmp_path, task_run("regression"), task_run("answers"), task_run("binary"))

    for title in ("MAE", "macro-F1", "F1", "Accuracy by type (%)", "true score"):
        assert title in page.text


def test_event_files_have_the_measures_of_the_task(task_run):
    (record,) = read_runs([task_run("regression")])
    names = {name for name, _, _ in scalars(record)}

    assert {"val/mae", "val.audio/acc7", "test/f1_nonzero", "test/loss"} <= names
    assert "val/accuracy" not in names


def test_a_result_without_any_measure_is_damaged(task_run, tmp_path):
    shutil.copytree(task_run("regression"), tmp_path / "run")
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    result["test"] = {"loss": 0.5, "modalities": {}}
    (tmp_path / "run" / "result.json").write_text(json.dumps(result))

    with pytest.raises(DataError, match=r"result\.json"):
        read_runs([tmp_path / "run"])
