import json
import sys
import types

import pytest
from click.testing import CliRunner

from mmtrain.cli.main import main
from mmtrain.report.runs.read import read_runs
from mmtrain.report.tensorboard import scalars
from tests.support.reportwork import make_run


def run(*arguments):
    return CliRunner().invoke(main, ["report", *(str(a) for a in arguments)])


def test_the_page_is_named(tmp_path):
    folder, html = make_run(tmp_path / "a"), tmp_path / "x" / "report.html"
    done = run(folder, "--html", html)
    assert (done.exit_code, done.stdout) == (0, f"{html}\n")
    assert html.read_text(encoding="utf-8").startswith("<!doctype html>")
    done = run(folder, "--html", html, "--json")
    assert json.loads(done.stdout) == {"runs": [str(folder)], "html": str(html)}


def test_wrong_requests(tmp_path):
    folder, html = make_run(tmp_path / "a"), tmp_path / "report.html"
    (tmp_path / "empty").mkdir()
    for arguments, said in (
        ((folder,), "give --html FILE, --tensorboard DIR, or both"),
        (("--html", html), "RUN"),
        ((tmp_path / "none", "--html", html), "does not exist"),
        ((tmp_path / "empty", "--html", html), "holds no run"),
    ):
        done = run(*arguments)
        assert done.exit_code == 2, done.output
        assert said in done.stderr
    assert not html.exists()


def test_damaged_runs_are_bad_data(tmp_path):
    folder = make_run(tmp_path / "a")
    (folder / "metrics.jsonl").write_text("{\n")
    done = run(folder, "--html", tmp_path / "report.html")
    assert done.exit_code == 3
    assert "metrics.jsonl, line 1" in done.stderr


def test_event_files_need_the_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    done = run(make_run(tmp_path / "a"), "--tensorboard", tmp_path / "events")
    assert done.exit_code == 2
    assert "pip install 'mmprep[tensorboard]'" in done.stderr
    assert not (tmp_path / "events").exists()


def test_scalars_are_what_the_run_measured(tmp_path):
    (record,) = read_runs([make_run(tmp_path / "a", (0.25, 0.5))])
    found = {(name, step): value for name, value, step in scalars(record)}
    assert found["train/loss", 2] == 1.75
    assert found["val/accuracy", 1] == 0.25
    assert found["val.audio/map", 2] == 0.25
    assert found["k/visual", 1] == 0.75
    assert found["method/step", 1] == 3
    assert found["test/macro_f1", 2] == 0.2
    assert len(found) == len([*scalars(record)])


class Writer:
    """Takes what TensorBoard's would."""

    written: dict

    def __init__(self, folder):
        self.folder = folder

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def add_scalar(self, name, value, step):
        self.written.setdefault(self.folder, []).append((name, step))


@pytest.fixture
def writer(monkeypatch):
    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    Writer.written = {}
    return Writer


def test_each_run_has_a_folder_of_events(tmp_path, writer):
    runs = [make_run(tmp_path / name / "seed-0") for name in ("a", "b")]
    old = tmp_path / "events" / "a" / "seed-0" / "events.out.tfevents.1"
    old.parent.mkdir(parents=True)
    old.touch()
    done = run(*runs, "--tensorboard", tmp_path / "events", "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["tensorboard"] == str(tmp_path / "events")
    folders = [str(tmp_path / "events" / name / "seed-0") for name in ("a", "b")]
    assert [*writer.written] == folders
    assert ("val/accuracy", 2) in writer.written[folders[0]]
    assert not old.exists()
