"""Studies: their files, the rows that these make, and one that is run, side by side and killed."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from mmtrain.cli.main import main
from mmtrain.comparison import study
from mmtrain.comparison.charge import taking_charge
from mmtrain.comparison.engines import Job, engine_named
from mmtrain.comparison.figures.catalog import FIGURES
from mmtrain.data import open_dataset
from mmtrain.errors import ConfigError, Interrupted
from mmtrain.training.assemble import require_buildable
from tests.support import ROOT
from tests.support.enginework import same, small
from tests.support.shardmaker import shards_of

TINY = """
title = "Two methods, and one that breaks"
source = "no paper"
seeds = 1
[rows]
method = ["joint", "multitask"]
[[row]]
label = "bad"
method = "LOUD.py:Loud"
[set]
epochs = 1
"""
LOUD = """
from dataclasses import dataclass

from mmtrain.methods.base import Method


@dataclass(kw_only=True, eq=False)
class Loud(Method):
    '''Prints, and breaks.'''

    def setup(self, run):
        print("null")

    def loss(self, run, out, batch):
        raise ZeroDivisionError("on purpose")
"""
BUILT: set[str] = set()
OPTIONS = ("--encoder", "small-cnn", "--batch-size", "4", "--device", "cpu", "--workers", "1")
VIEW = ("--set", "view.frames=1", "--set", "view.size=32", "--set", "width=64")
MODALITIES = ("--modalities", "audio,visual")


def written(folder, text, name="mine.toml"):
    path = folder / name
    path.write_text(text)
    return str(path)


def crossed(folder, text):
    return study.read(written(folder, f'title = "t"\nsource = "s"\n{text}'))


def test_lists_are_crossed_and_rows_of_their_own_added(tmp_path):
    found = crossed(
        tmp_path,
        '[rows]\nfusion = ["concat", "film"]\nmethod = ["joint", "ogm"]\n"method.alpha" = [0.1]\n'
        '[[row]]\nlabel = "mine, at last"\nmethod = "opm"\n"method.q_base" = 0.3\n'
        '[[row]]\nmethod = "opm"\nlr = 0.1\n',
    )
    labels = ["concat+joint", "concat+ogm", "film+joint", "film+ogm", "mine,-at-last", "opm+lr=0.1"]
    assert [*found.rows] == labels
    assert found.rows["film+ogm"] == {"fusion": "film", "method": "ogm", "method.alpha": 0.1}
    assert found.seeds == (0, 1, 2, 3, 4)


def test_a_row_is_compared_with_the_same_row_of_the_baseline(tmp_path):
    text = '[rows]\nfusion = ["concat", "film"]\nmethod = ["joint", "ogm"]\n'
    assert crossed(tmp_path, text).baselines == {
        "concat+joint": "concat+joint",
        "concat+ogm": "concat+joint",
        "film+joint": "film+joint",
        "film+ogm": "film+joint",
    }
    named = crossed(tmp_path, f'baseline = "film+ogm"\n{text}')
    assert set(named.baselines.values()) == {"film+ogm"}


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("", ConfigError, "no rows"),
        ("rows = 3", ConfigError, "rows is a table"),
        ('[rows]\nmethod = "joint"', ConfigError, "a list of values; got 'joint'"),
        ('[rows]\nmethod = ["joint"]\n[tune]\nlr = 0.1', ConfigError, "tune.lr is a list"),
        ('seeds = 0\n[rows]\nmethod = ["joint"]', ConfigError, "seeds is a number"),
        ('controls = ["alnoe"]\n[rows]\nmethod = ["joint"]', ConfigError, "did you mean alone"),
        ('sources = "x"\n[rows]\nmethod = ["joint"]', ConfigError, "did you mean source"),
        ("[[row]]\nlr = 1\n[[row]]\nlr = 1\n", ConfigError, "the same label"),
        ("[rows", ConfigError, "mine.toml"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path, text, error, message):
    with pytest.raises(error, match=message):
        crossed(tmp_path, text)


def test_there_are_studies_of_each_paper():
    sources = [study.read(name).source for name in study.names()]
    assert len(sources) >= 25
    for paper in ("TPAMI 2024", "Guan", "Jiang", "Yang", "IJCAI 2025", "NeurIPS 2024"):
        assert any(paper in source for source in sources), paper


@pytest.fixture(scope="module")
def more(tmp_path_factory):
    """As many samples to train on as the largest batch of a study."""
    return shards_of(tmp_path_factory.mktemp("more"), samples=4 * 64)


@pytest.mark.parametrize("name", study.names())
def test_every_row_of_every_study_can_be_built(name, more):
    known = study.read(name)
    three = "three modalities" in known.needs.split(":")[0]
    given = {"modalities": ("audio", "visual", "flow") if three else ("audio", "visual")}
    base = small(more, epochs=300)
    contest = study.contest_of(known, base, given=given)
    with open_dataset(more) as dataset:
        entrants = contest.entrants(dataset)
        assert {*known.rows} <= {entrant.label for entrant in entrants}
        for entrant in entrants:
            # Many rows stand in several studies.
            if repr(entrant.config) not in BUILT:
                require_buildable(entrant.config, dataset)
                BUILT.add(repr(entrant.config))
    assert {*known.baselines.values()} <= {*known.rows}
    assert known.baselines


def command(shards, file, out, *more):
    return (
        *("study", file, "--data", str(shards), *OPTIONS, *VIEW, *MODALITIES),
        *("--out", str(out), *more),
    )


def wait_until_free(folder):
    """Waits until no process holds a run below ``folder``."""
    end = time.monotonic() + 60
    for run in {path.parent for path in folder.rglob("config.json")}:
        held = os.open(run, os.O_RDONLY)
        while time.monotonic() < end:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.05)
        os.close(held)


def test_side_by_side_and_killed_it_ends_in_the_same_table(shards, tmp_path):
    written(tmp_path, LOUD, "loud.py")
    file = written(tmp_path, TINY.replace("LOUD.py", str(tmp_path / "loud.py")))
    straight = CliRunner().invoke(main, command(shards, file, tmp_path / "straight"))
    assert straight.exit_code == 1, straight.output

    out = tmp_path / "killed"
    line = [sys.executable, "-m", "mmtrain", *command(shards, file, out, "--jobs", "2", "--json")]
    for _ in range(5):
        shutil.rmtree(out, ignore_errors=True)
        with subprocess.Popen(line, cwd=ROOT, stderr=subprocess.PIPE) as first:
            while not [*out.rglob("result.json")] and first.poll() is None:
                time.sleep(0.05)
            first.kill()
            first.communicate()
        if first.returncode == -signal.SIGKILL:
            break
        # On a busy machine it may end before it is seen; then another one is killed.
    assert first.returncode == -signal.SIGKILL
    # Its processes see that it has gone, and stop.
    wait_until_free(out)
    done = subprocess.run(line, cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 1, done.stderr

    one = json.loads((tmp_path / "straight" / "table.json").read_text())
    other = json.loads(done.stdout)
    assert [row["label"] for row in other["rows"]] == ["joint", "multitask", "bad"]
    for a, b in zip(one["rows"], other["rows"], strict=True):
        for key in ("accuracy", "seeds", "interval", "shares", "against"):
            assert a.get(key) == b.get(key)
    assert same(tmp_path / "straight" / "joint" / "seed-0", out / "joint" / "seed-0")
    assert (out / "study.toml").read_text() == Path(file).read_text()
    # The run that fails is named, and costs the others nothing.
    for table in (one, other):
        ((run, error),) = [(each["run"], each["error"]) for each in table["failed"]]
        assert run.endswith("bad/seed-0")
        assert error == "ZeroDivisionError('on purpose')"


def test_a_request_to_stop_reaches_the_processes(shards, tmp_path):
    config = small(shards, epochs=500, modalities=("audio", "visual"))
    folder = tmp_path / "run"

    def stop():
        while not (folder / "metrics.jsonl").exists():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop, daemon=True).start()
    jobs = [Job(config=config, folder=folder)]
    with (
        taking_charge(tmp_path) as charge,
        pytest.raises(Interrupted, match="The same command goes on"),
    ):
        [*engine_named("local")(jobs, charge=charge, at_once=2)]
    # The process has ended, and has left what the next one continues.
    held = os.open(folder, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(held)
    assert (folder / "checkpoint.pt").exists()
    assert not (folder / "result.json").exists()


def test_a_wrong_request_leaves_no_folder(shards, tmp_path):
    file = written(tmp_path, TINY.replace("epochs = 1", "epcohs = 1"))
    done = CliRunner().invoke(main, command(shards, file, tmp_path / "out"))
    assert done.exit_code == 2
    assert "did you mean epochs" in done.stderr
    assert not (tmp_path / "out").exists()


def test_studies_are_listed_and_shown():
    done = CliRunner().invoke(main, ["studies"])
    assert done.exit_code == 0
    assert len(done.stdout.splitlines()) == len(study.names())
    text = CliRunner().invoke(main, ["studies", "ogm-fusions"]).stdout
    assert 'fusion = ["concat"' in text
    assert CliRunner().invoke(main, ["studies", "ogm-fusion"]).exit_code == 2


FIGURE = '[rows]\nmethod = ["joint", "igm"]\n[[figures]]\n'


def test_figures_are_read_with_a_name_each(tmp_path):
    more = '[[figures]]\nkind = "curves"\nquantity = "k"\n[[figures]]\nkind = "stages"\n'
    found = crossed(tmp_path, f'{FIGURE}kind = "accuracy"\nmeasure = "map"\nrows = ["igm"]\n{more}')
    assert [figure.name for figure in found.figures] == ["accuracy-map", "curves-k", "stages"]
    assert found.figures[0].rows == ("igm",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('kind = "acuracy"', "did you mean accuracy"),
        ('kind = "accuracy"\nmeasure = "mapp"', "did you mean map"),
        ('kind = "accuracy"\nstile = "bars"', "did you mean .*style"),
        ('kind = "accuracy"\nstyle = "lines"', "style of the figure accuracy"),
        ('kind = "accuracy"\nrows = "igm"', "rows of the figure accuracy is the labels"),
        ('kind = "accuracy"\nrows = ["img"]', "did you mean igm"),
        ('kind = "curves"', "the figure curves needs quantity"),
        ('kind = "sweep"', "the figure sweep needs rows that differ in one or two numbers"),
        ('kind = "classes"\nmost = "ten"', "most of the figure classes is the largest number"),
        ('kind = "time"\n[[figures]]\nkind = "time"', "two figures would be time"),
    ],
)
def test_figures_that_cannot_be_are_refused_when_the_study_is_read(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        crossed(tmp_path, f"{FIGURE}{text}\n")


def test_figures_of_what_no_row_has_are_refused(tmp_path):
    text = '[rows]\nmethod = ["joint", "ogm"]\n[[figures]]\n'
    with pytest.raises(ConfigError, match="stages needs a row whose method trains in stages"):
        crossed(tmp_path, f'{text}kind = "stages"\n')
    single = text.replace("[[figures]]", 'modalities = [["audio"]]\n[[figures]]')
    with pytest.raises(ConfigError, match="modalities needs a row with several modalities"):
        crossed(tmp_path, f'{single}kind = "modalities"\n')
    three = '"method.a" = [1, 2]\n"method.b" = [1, 2]\nlr = [1, 2]\n[[figures]]\nkind = "sweep"\n'
    with pytest.raises(ConfigError, match=r"one or two of method\.a, method\.b, lr"):
        crossed(tmp_path, f'[rows]\nmethod = ["ogm"]\n{three}')
    assert crossed(tmp_path, f'[rows]\nmethod = ["ogm"]\n{three}x = "lr"\n').figures


def test_measures_to_show_are_those_of_a_task(tmp_path, shards):
    rows = '[rows]\nmethod = ["joint"]\n'
    with pytest.raises(ConfigError, match="did you mean map"):
        crossed(tmp_path, f'show = ["mapp"]\n{rows}')
    with pytest.raises(ConfigError, match="show is a list"):
        crossed(tmp_path, f'show = "map"\n{rows}')
    found = crossed(tmp_path, f'show = ["mae"]\n{rows}')
    contest = study.contest_of(found, small(shards), given={})
    with (
        open_dataset(shards) as dataset,
        pytest.raises(ConfigError, match="no measure of classification for show 'mae'"),
    ):
        contest.entrants(dataset)


def test_kinds_of_figures_are_listed_and_shown():
    lines = CliRunner().invoke(main, ["figures"]).stdout.splitlines()
    assert [line.split()[0] for line in lines] == [*FIGURES]
    one = CliRunner().invoke(main, ["figures", "discrepancy"]).stdout
    assert "  of: rho, or gap of accuracies" in one
    assert "  rows: labels of the rows that are drawn" in one
    done = CliRunner().invoke(main, ["figures", "--json"])
    assert [kind["name"] for kind in json.loads(done.stdout)["figures"]] == [*FIGURES]
    assert CliRunner().invoke(main, ["figures", "curve"]).exit_code == 2
