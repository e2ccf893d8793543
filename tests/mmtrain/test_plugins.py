"""Classes of the user's own: by file, by module, by the entry point of a package."""

import hashlib
import json
import shutil
import subprocess
import sys
import textwrap

import pytest
from click.testing import CliRunner

from mmtrain import plugins
from mmtrain.cli.main import main
from mmtrain.config.overrides import resolved
from mmtrain.config.request import Request
from mmtrain.config.run import TrainConfig
from mmtrain.curricula.catalog import CURRICULA
from mmtrain.errors import ConfigError, UnknownName
from mmtrain.evaluation.evaluate import evaluate
from mmtrain.methods.catalog import METHODS
from mmtrain.models.catalog import ENCODERS, FUSIONS
from mmtrain.training.train import train
from tests.support import ROOT
from tests.support.enginework import small
from tests.support.rankwork import plan, said, together

METHOD = '''
"""Halves the loss (Nobody, 2026)."""

from dataclasses import dataclass

from mmtrain.fields import between
from mmtrain.methods.base import Method


@dataclass(kw_only=True, eq=False)
class Half(Method):
    """Trains on ``L = share * CE``.

    Args:
        share: Factor of the loss.
    """

    share: float = between(0, 1, default=0.5)

    def loss(self, run, out, batch):
        return self.share * super().loss(run, out, batch)
'''
OTHERS = """
from mmtrain.curricula.uniform import Uniform
from mmtrain.models.encoders.small_cnn import SmallCNN
from mmtrain.models.fusions.sum import Sum


class Order(Uniform):
    pass


class Mixer(Sum):
    pass


class Eye(SmallCNN):
    pass
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "half.py"
    path.write_text(METHOD)
    return path


def run(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def training(shards, out, method, *more):
    small = ("--epochs", "1", "--batch-size", "4", "--device", "cpu", "--workers", "1")
    view = ("--set", "view.frames=1", "--set", "view.size=32", "--encoder", "small-cnn")
    return run("train", "--data", shards, *small, *view, "--method", method, "--out", out, *more)


def test_a_file_is_a_method(file):
    name = f"{file}:Half"
    explanation = METHODS.explain(name)
    assert explanation.text == "Trains on ``L = share * CE``."
    assert [(p.name, p.default) for p in explanation.parameters] == [("share", 0.5)]
    assert METHODS.load(name) is METHODS.load(name)
    with pytest.raises(ConfigError, match="share is in"):
        METHODS.load(name)(share=2)


def test_a_file_is_a_curriculum_a_fusion_or_an_encoder(tmp_path, shards):
    path = tmp_path / "others.py"
    path.write_text(OTHERS)
    config = small(
        shards, epochs=1, curriculum=f"{path}:Order", fusion=f"{path}:Mixer", encoder=f"{path}:Eye"
    )
    result = train(config, tmp_path / "run")
    assert result["epochs"] == 1
    for catalog in (CURRICULA, FUSIONS, ENCODERS):
        with pytest.raises(ConfigError, match=f"is no {catalog.kind}: it does not derive from"):
            catalog.load(f"{path}:Uniform" if catalog is not CURRICULA else f"{path}:Sum")


def test_a_module_is_a_method():
    assert METHODS.load("mmtrain.methods.ogm:OGM").__name__ == "OGM"
    with pytest.raises(ConfigError, match="no module 'nowhere'; install it"):
        METHODS.load("nowhere.at_all:Method")
    with pytest.raises(
        UnknownName, match=r"no class in mmtrain\.methods\.ogm 'OMG'; did you mean OGM"
    ):
        METHODS.load("mmtrain.methods.ogm:OMG")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\nimport nowhere\n", r"half.py, line 2: ModuleNotFoundError: No module named"),
        ("x = (\n", r"half.py, line 1: SyntaxError"),
        ("def f():\n    return 1 / 0\n\nf()\n", r"half.py, line 2: ZeroDivisionError"),
        ("Half = 3\n", r"is no method: it does not derive from mmtrain.methods.base.Method"),
        ("class Half: pass\n", r"is no method: it does not derive"),
        ("class Halve: pass\n", r"no class in .*half.py 'Half'; did you mean Halve"),
    ],
)
def test_a_file_that_is_no_method_is_refused_with_its_line(file, text, message):
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        METHODS.load(f"{file}:Half")


def test_a_name_without_class_or_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="names no class; give one as in"):
        METHODS.entry("half.py")
    with pytest.raises(ConfigError, match=r"cannot read .*none\.py"):
        METHODS.load(f"{tmp_path}/none.py:Half")


def test_a_config_holds_the_whole_path_and_the_digest(file, monkeypatch):
    monkeypatch.chdir(file.parent)
    config = resolved(Request(options={"data": "x", "method": "half.py:Half"}).config())
    assert config.method == f"{file}:Half"
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert config.plugins == {str(file): digest}
    assert TrainConfig.from_json(config.to_json(), "x") == config


def test_a_run_trains_is_resumed_and_looked_at(shards, tmp_path, file):
    out = tmp_path / "run"
    done = training(shards, out, f"{file}:Half", "--set", "share=0.25")
    assert done.exit_code == 0, done.output
    assert json.loads((out / "config.json").read_text())["settings"]["method"] == {"share": 0.25}
    assert run("train", "--out", out, "--resume").exit_code == 0
    assert run("eval", out, "--json").exit_code == 0
    assert run("probe", out, "--json").exit_code == 0


def test_a_changed_file_is_refused_on_resume_unless_it_is_allowed(shards, tmp_path, file, caplog):
    out = tmp_path / "run"
    assert training(shards, out, f"{file}:Half").exit_code == 0
    before = hashlib.sha256(file.read_bytes()).hexdigest()
    file.write_text(METHOD + "\n# changed\n")
    now = hashlib.sha256(file.read_bytes()).hexdigest()

    done = run("train", "--out", out, "--resume")
    assert done.exit_code == 2
    assert all(part in done.stderr for part in (before, now, str(file), "--allow-changed"))
    assert run("train", "--out", out, "--resume", "--allow-changed").exit_code == 0
    caplog.clear()
    evaluate(out)  # Looks at what there is, and warns.
    assert before in caplog.text


def test_a_comparison_takes_plug_ins_by_the_name_of_their_class(shards, tmp_path, file):
    out = tmp_path / "table"
    small = ("--epochs", "1", "--batch-size", "4", "--device", "cpu", "--workers", "1")
    view = ("--set", "view.frames=1", "--set", "view.size=32", "--encoder", "small-cnn")
    methods = ("--methods", f"joint,{file}:Half", "--set-for", "Half:share=0.125")
    arguments = ("compare", "--data", shards, *small, *view, *methods, "--out", out)
    done = run(*arguments)
    assert done.exit_code == 0, done.output
    config = json.loads((out / "Half" / "seed-0" / "config.json").read_text())
    assert config["settings"]["method"] == {"share": 0.125}
    file.write_text(METHOD + "\n# changed\n")
    done = run(*arguments)
    assert done.exit_code == 2
    assert "--allow-changed" in done.stderr
    assert run(*arguments, "--allow-changed").exit_code == 0


STRANGE = """
from pathlib import Path

from mmtrain.methods.base import Method

Path(__file__).with_name("ran").write_text("x")


class Half(Method):
    pass
"""


@pytest.fixture(scope="module")
def trained(shards, tmp_path_factory):
    """A run of a method of ours."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    train(small(shards, epochs=1), folder)
    return folder


@pytest.fixture
def stranger(trained, tmp_path):
    """A run that somebody else trained with a class in a file or module, which came with it."""

    def received(name):
        folder = tmp_path / "received"
        shutil.copytree(trained, folder / "run")
        (folder / "evil.py").write_text(STRANGE)
        config = json.loads((folder / "run/config.json").read_text())
        digest = hashlib.sha256(STRANGE.encode()).hexdigest()
        named = name.format(folder=folder)
        files = {named.rpartition(":")[0]: digest} if ".py" in named else {}
        config |= {"method": named, "plugins": files}
        (folder / "run/config.json").write_text(json.dumps(config))
        return folder

    return received


@pytest.mark.parametrize("name", ["{folder}/evil.py:Half", "./evil.py:Half", "evil:Half"])
def test_a_run_of_a_stranger_runs_no_code(stranger, monkeypatch, name):
    folder = stranger(name)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    commands = (
        ("eval", "run"),
        ("probe", "run"),
        ("audit", "run"),
        ("train", "--resume", "--out", "run"),
        ("train", "--config", "run/config.json"),
    )
    for command in commands:
        done = run(*command)
        assert (done.exit_code, (folder / "ran").exists()) == (2, False), command
        assert ":Half, whose code would run here" in done.stderr
        assert "--allow-plugins" in done.stderr
    with pytest.raises(ConfigError, match="allowing"):
        evaluate(folder / "run")


def test_a_page_of_a_strangers_run_needs_no_consent_since_it_loads_nothing(stranger, tmp_path):
    folder = stranger("{folder}/evil.py:Half")
    assert run("report", folder / "run", "--html", tmp_path / "page.html").exit_code == 0
    assert not (folder / "ran").exists()


def test_a_teacher_of_a_stranger_runs_no_code(stranger, shards, tmp_path):
    folder = stranger("{folder}/evil.py:Half")
    settings = {"method": {"teachers": (str(folder / "run"), str(folder / "run"))}}
    with pytest.raises(ConfigError, match="whose code would run here"):
        train(small(shards, epochs=1, method="umt", settings=settings), tmp_path / "pupil")
    assert not (folder / "ran").exists()


def test_consent_lets_the_code_of_a_run_run_and_ends_with_its_context(stranger):
    folder = stranger("{folder}/evil.py:Half")
    with plugins.allowing():
        assert plugins.without_consent([f"{folder}/evil.py:Half"]) == []
    assert plugins.without_consent([f"{folder}/evil.py:Half"])
    assert run("eval", folder / "run", "--allow-plugins").exit_code == 0
    assert (folder / "ran").exists()


def test_naming_a_plug_in_is_consent_to_it(stranger):
    folder = stranger("{folder}/evil.py:Half")
    (folder / "run/result.json").unlink()
    named = ("--method", f"{folder}/evil.py:Half")
    assert run("train", "--out", folder / "run", "--resume").exit_code == 2
    assert run("train", "--out", folder / "run", "--resume", *named).exit_code == 0


@pytest.mark.slow
def test_several_ranks_load_the_same_file(shards, tmp_path, file):
    config = small(shards, epochs=1, method=f"{file}:Half")
    together([plan(tmp_path / "two", config, 2)])
    assert [said(tmp_path / "two", rank) for rank in (0, 1)] == ["done", "done"]


def test_packages_add_names_by_entry_points(tmp_path):
    (tmp_path / "halving.py").write_text(METHOD)
    info = tmp_path / "halving-1.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: halving\nVersion: 1.5\n")
    (info / "entry_points.txt").write_text("[mmtrain.methods]\nhalf = halving:Half\n")
    code = """
        import sys
        sys.path.insert(0, sys.argv[1])
        from mmtrain.cli.main import main
        main(["methods"], standalone_mode=False)
        assert "torch" not in sys.modules
        main(["methods", "half"], standalone_mode=False)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    listed = [line for line in done.stdout.splitlines() if line.startswith("half ")]
    assert listed[0].split() == ["half", "halving:Half,", "of", "halving", "1.5.", "[-]"]
    assert "share = 0.5" in done.stdout


def test_methods_are_checked_by_a_command(file):
    done = run("methods", "--check", f"{file}:Half", "--set", "share=0.25")
    assert done.exit_code == 0, done.output
    assert all(line.startswith("ok ") for line in done.stdout.splitlines())
    assert len(done.stdout.splitlines()) == 16

    file.write_text(METHOD.replace("share: Factor", "factor: Factor"))
    done = run("methods", "--check", f"{file}:Half", "--json")
    assert done.exit_code == 1
    outcome = json.loads(done.stdout)
    assert not outcome["ok"]
    failed = [each for each in outcome["checks"] if each["error"]]
    assert [each["error"] for each in failed] == ["the docstring has no description of share"]

    assert run("methods", "--check").exit_code == 2
    assert run("methods", "--check", f"{file}:Third").exit_code == 2
