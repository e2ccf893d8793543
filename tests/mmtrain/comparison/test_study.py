"""Studies: their files, the rows that these make, and one that is run, side by side and killed."""

import json
import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

from mmtrain.cli.main import main
from mmtrain.comparison import study
from mmtrain.data import open_dataset
from mmtrain.errors import ConfigError
from mmtrain.training.assemble import require_buildable
from tests.support import ROOT
from tests.support.enginework import same, small
from tests.support.shardmaker import shards_of

TINY = """
title = "Two methods, and a rate that is too high"
source = "no paper"
seeds = 1
[rows]
method = ["joint", "multitask"]
[[row]]
label = "bad"
lr = 1e30
[set]
epochs = 1
"""
BUILT: set[str] = set()
OPTIONS = ("--encoder", "small-cnn", "--batch-size", "4", "--device", "cpu", "--workers", "1")
VIEW = ("--set", "view.frames=1", "--set", "view.size=32", "--set", "width=64")
MODALITIES = ("--modalities", "audio,visual")


def written(folder, text):
    path = folder / "mine.toml"
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


def test_side_by_side_and_killed_it_ends_in_the_same_table(shards, tmp_path):
    file = written(tmp_path, TINY)
    straight = CliRunner().invoke(main, command(shards, file, tmp_path / "straight", "--json"))
    assert straight.exit_code == 1, straight.output

    out = tmp_path / "killed"
    line = [sys.executable, "-m", "mmtrain", *command(shards, file, out, "--jobs", "2", "--json")]
    with subprocess.Popen(line, cwd=ROOT, stderr=subprocess.PIPE, start_new_session=True) as first:
        while not [*out.rglob("result.json")] and first.poll() is None:
            time.sleep(0.05)
        first.send_signal(signal.SIGTERM)
        _, errors = first.communicate()
    assert first.returncode == 1, errors
    done = subprocess.run(line, cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 1, done.stderr

    one, other = json.loads(straight.stdout), json.loads(done.stdout)
    assert [row["label"] for row in other["rows"]] == ["joint", "multitask", "bad"]
    for a, b in zip(one["rows"], other["rows"], strict=True):
        for key in ("accuracy", "seeds", "interval", "shares", "against"):
            assert a.get(key) == b.get(key)
    assert same(tmp_path / "straight" / "joint" / "seed-0", out / "joint" / "seed-0")
    assert (out / "study.toml").read_text() == TINY
    # The run that fails is named, and costs the others nothing.
    for table in (one, other):
        ((run, error),) = [(each["run"], each["error"]) for each in table["failed"]]
        assert run.endswith("bad/seed-0")
        assert "the loss is" in error


def test_studies_are_listed_and_shown():
    done = CliRunner().invoke(main, ["studies"])
    assert done.exit_code == 0
    assert len(done.stdout.splitlines()) == len(study.names())
    text = CliRunner().invoke(main, ["studies", "ogm-fusions"]).stdout
    assert 'fusion = ["concat"' in text
    assert CliRunner().invoke(main, ["studies", "ogm-fusion"]).exit_code == 2
