"""Probes and robustness curves of all runs of a comparison."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from mmtrain.cli.main import main
from mmtrain.comparison import study
from mmtrain.comparison.compare import compare
from mmtrain.comparison.evaluations import Evaluations, unimodal_models
from mmtrain.errors import ConfigError, UnknownName
from mmtrain.evaluation.many import runs_in
from tests.support.evalwork import contest

ASKED = Evaluations.of(True, ["audio=0:1:0.5", "audio=0.1,visual=0.5"], ["visual=0.5"])


def run(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def measured(shards, tmp_path_factory):
    """A method and each modality alone, with everything that can be measured of them."""
    folder = tmp_path_factory.mktemp("measured") / "out"
    given = contest(shards, "joint", alone=True, evaluations=ASKED)
    return given, folder, compare(given, folder)


def test_the_table_has_what_was_measured(measured):
    _, folder, table = measured
    audio, visual, joint = table["rows"]
    assert table["failed"] == []
    report = json.loads((folder / "joint" / "seed-0" / "probe-test.json").read_text())
    for m, alone in (("audio", audio), ("visual", visual)):
        values = report["modalities"][m]
        assert joint["probes"][m]["accuracy"] == {"mean": values["accuracy"], "std": 0}
        # The gap to the unimodal model of the same seed, whose own probe it is.
        gap = alone["probes"][m]["accuracy"]["mean"] - values["accuracy"]
        assert joint["probes"][m]["gap"] == {"mean": pytest.approx(gap), "std": 0}
        assert alone["probes"][m]["gap"] is None
    settings = json.loads((folder / "joint" / "seed-0" / "eval-test.json").read_text())["missing"]
    assert [s["rates"] for s in joint["missing"]] == [s["rates"] for s in settings]
    for shown, own in zip(joint["missing"], settings, strict=True):
        assert shown["accuracy"] == {"mean": own["accuracy"]["mean"], "std": 0}
    # A unimodal model has the settings of its own modality.
    assert [s["rates"] for s in audio["missing"]] == [{"audio": p} for p in (0.0, 0.5, 1.0)]
    assert "missing" not in visual
    assert "noise" not in audio
    assert [s["levels"] for s in visual["noise"]] == [{"visual": 0.5}]


def test_the_page_has_columns_of_probes(measured):
    _, folder, table = measured
    head, _, *lines = (folder / "table.md").read_text().splitlines()[:5]
    place = [cell.strip() for cell in head.split("|")].index("probe of visual")
    cells = [[cell.strip() for cell in line.split("|")][place] for line in lines]
    accuracies = [row["probes"].get("visual") for row in table["rows"]]
    assert cells == [f"{100 * a['accuracy']['mean']:.2f}" if a else "-" for a in accuracies]
    assert "missing.0" not in (folder / "table.csv").read_text()
    page = (folder / "report.html").read_text()
    assert "at 10 % of audio" in page or "without audio" in page
    assert "with noise on visual" in page


def test_nothing_is_measured_twice(measured):
    given, folder, table = measured
    files = sorted(p for p in folder.rglob("*-test.json"))
    before = {path: path.read_text() for path in files}
    times = {path: path.stat().st_mtime_ns for path in files if path.name.startswith("eval")}

    assert compare(given, folder)["rows"] == table["rows"]

    assert {path: path.read_text() for path in files} == before
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_the_commands_take_the_folder(measured, tmp_path):
    _, folder, _ = measured
    runs = [folder / label / "seed-0" for label in ("audio-alone", "joint", "visual-alone")]
    assert runs_in([folder]) == runs
    assert runs_in([runs[1], folder]) == [runs[1], runs[0], runs[2]]
    assert unimodal_models(runs[1]) == [runs[0].resolve(), runs[2].resolve()]
    assert unimodal_models(runs[0]) == []
    (folder / "joint" / "tune" / "lr=1").mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "result.json"):
        copy = folder / "joint" / "tune" / "lr=1" / name
        copy.write_bytes((runs[1] / name).read_bytes())
    assert runs_in([folder]) == runs

    done = run("probe", folder, "--json")
    assert done.exit_code == 0, done.output
    reports = json.loads(done.stdout)["runs"]
    assert [r["run"] for r in reports] == [str(runs[i]) for i in (0, 2, 1)]
    assert all(values["alone"] for values in reports[-1]["modalities"].values())
    done = run("report", folder, "--html", tmp_path / "page.html", "--json")
    assert json.loads(done.stdout)["runs"] == [str(path) for path in runs]
    (runs[0] / "best.pt").rename(tmp_path / "best.pt")
    try:
        done = run("probe", folder, "--json")
    finally:
        (tmp_path / "best.pt").rename(runs[0] / "best.pt")
    # One that fails does not stop the others, and is named.
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert [each["run"] for each in found["failed"]] == [str(runs[0])]
    assert len(found["runs"]) == 2


def test_what_cannot_be_measured_is_refused_before_training(shards, task_shards, tmp_path):
    wrong = contest(shards, "joint", evaluations=Evaluations.of(False, ["flow=0.5"], []))
    with pytest.raises(UnknownName, match="no modality of this run 'flow'"):
        compare(wrong, tmp_path / "a")
    wrong = contest(task_shards("regression"), "joint", evaluations=Evaluations.of(True, [], []))
    with pytest.raises(ConfigError, match="--probe needs one class"):
        compare(wrong, tmp_path / "b")
    assert not any(tmp_path.iterdir())


STUDY = """
title = "t"
source = "s"
probe = true
missing = ["audio=0:1:0.5"]
noise = ["visual=0.5,audio=1"]
[rows]
method = ["joint"]
"""


def test_a_study_names_what_is_measured(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(STUDY)
    asked = study.read(str(path)).evaluations
    assert asked.probe
    assert [dict(s) for s in asked.missing.rates] == [{"audio": p} for p in (0.0, 0.5, 1.0)]
    assert [dict(s) for s in asked.noise.levels] == [{"visual": 0.5, "audio": 1.0}]
    more = asked.with_more(Evaluations.of(False, ["audio=0.7"], []))
    assert more.probe
    assert np.isclose(more.missing.rates[-1]["audio"], 0.7)
    for wrong in ('probe = "yes"', "missing = 0.5", "noise = [0.5]", 'missing = ["audio=x"]'):
        key = wrong.partition(" ")[0]
        lines = [wrong if line.startswith(key) else line for line in STUDY.splitlines()]
        path.write_text("\n".join(lines))
        with pytest.raises(ConfigError, match=key):
            study.read(str(path))
