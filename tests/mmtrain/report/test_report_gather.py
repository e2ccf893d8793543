import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from mmtrain.errors import ConfigError, DataError
from mmtrain.names import short_names
from mmtrain.report.runs.read import read_runs
from tests.support.reportwork import evaluation, make_run, metrics


def test_a_finished_run(tmp_path):
    (run,) = read_runs([make_run(tmp_path / "a", (0.2, 0.6, 0.4))])
    assert run.best == 1
    assert run.val.fused.value("accuracy") == 0.6
    assert run.test.head("fused").value("accuracy") == 0.4
    assert run.test.head("visual").value("accuracy") == pytest.approx(0.4 / 3)
    assert run.test.head("flow") is None
    assert run.epochs[2].logged["k.visual"] == 0.75


def test_a_run_in_progress_has_its_best_epoch_so_far(tmp_path):
    folder = make_run(tmp_path / "a", (0.2, 0.6, 0.6, 0.4), test=None)
    (run,) = read_runs([folder])
    assert (run.result, run.test, run.best) == (None, None, 1)
    assert run.val.fused.value("accuracy") == 0.6


def test_a_last_line_that_is_half_written_is_not_read(tmp_path):
    folder = make_run(tmp_path / "a", test=None)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 2, "lr": 0.')
    assert len(read_runs([folder])[0].epochs) == 2


def test_a_run_that_has_just_begun(tmp_path):
    folder = make_run(tmp_path / "a", test=None)
    (folder / "metrics.jsonl").unlink()
    (run,) = read_runs([folder])
    assert (run.epochs, run.best, run.val) == ((), None, None)


def test_no_validation_split(tmp_path):
    folder = make_run(tmp_path / "a")
    line = metrics(0, 0.5, ("audio",), val=None)
    (folder / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    (run,) = read_runs([folder])
    assert run.epochs[0].val is None


def test_a_folder_given_twice_is_one_run(tmp_path):
    folder = make_run(tmp_path / "a")
    assert len(read_runs([folder, folder / ".." / "a"])) == 1


def test_names_are_as_short_as_can_be():
    assert short_names([Path("/x/joint/seed-0")]) == ["seed-0"]
    assert short_names([Path("/x/a/s"), Path("/x/b/s")]) == ["a/s", "b/s"]


def test_no_run_is_a_wrong_request(tmp_path):
    with pytest.raises(ConfigError, match=r"holds no run: there is no config\.json"):
        read_runs([tmp_path])
    with pytest.raises(ConfigError, match="no run to report on"):
        read_runs([])


def without(name):
    return lambda plain: {k: v for k, v in plain.items() if k != name}


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("metrics.jsonl", '{"epoch": 0\n', r"metrics\.jsonl, line 1: damaged"),
        ("metrics.jsonl", "[1]\n", r"metrics\.jsonl, line 1: damaged"),
        ("metrics.jsonl", '{"epoch": 0}\n', r"metrics\.jsonl, line 1: lacks 'lr'"),
        ("result.json", "", r"result\.json: damaged"),
        ("result.json", '{"best_epoch": 0, "val": null}', r"result\.json: lacks 'test'"),
        ("result.json", '{"best_epoch": 0, "val": 3, "test": 0}', r"result\.json: damaged"),
        ("eval-test.json", "{}", r"eval-test\.json: lacks "),
        ("eval-val.json", "\x00", r"eval-val\.json: damaged"),
        ("probe-test.json", '{"modalities": {"audio": {}}}', r"probe-test\.json: lacks 'alone'"),
        ("config.json", "{", r"config\.json: not the config of a run"),
        ("config.json", '{"colour": 1}', r"config\.json: .*unknown fields colour"),
    ],
)
def test_what_is_damaged_is_named(tmp_path, file, text, said):
    folder = make_run(tmp_path / "a")
    (folder / file).write_text(text)
    with pytest.raises((DataError, ConfigError), match=said):
        read_runs([folder])


def test_a_confusion_matrix_of_other_classes_is_damaged(tmp_path):
    folder = make_run(tmp_path / "a")
    (folder / "eval-test.json").write_text(json.dumps({**evaluation(), "confusion": [[1]]}))
    with pytest.raises(DataError, match=r"eval-test\.json: .*shape \(1, 1\) for 4 classes"):
        read_runs([folder])


def test_scores(tmp_path):
    (run,) = read_runs([make_run(tmp_path / "a")])
    assert run.scores() == {}
    path = tmp_path / "a" / "scores.h5"
    path.write_bytes(b"no")
    with pytest.raises(DataError, match=r"scores\.h5: not a file of scores"):
        run.scores()
    with h5py.File(path, "w") as file:
        file["key"] = np.array([b"a", b"b"])
        file["visits"] = np.ones((3, 2), np.uint32)
        file["score"] = np.ones((2, 2), np.float32)
    with pytest.raises(DataError, match=r"scores\.h5: its columns are not of one shape"):
        run.scores()
