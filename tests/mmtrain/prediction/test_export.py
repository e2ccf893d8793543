import json
import shutil

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

import mmtrain
from mmtrain import plugins
from mmtrain.cli.main import main
from mmtrain.errors import ConfigError, DataError
from mmtrain.prediction.export import export
from mmtrain.prediction.predict import predict
from mmtrain.prediction.predictor import load
from mmtrain.prediction.program import Logits, examples
from mmtrain.training.train import train
from tests.support.enginework import small

STUBBORN = '''
from mmtrain.methods.base import Method


class Stubborn(Method):
    """Predicts by what it sees."""

    def predict(self, model, batch):
        out = model(batch)
        return out if bool(out.fused.sum() > 0) else type(out)(
            fused=2 * out.fused, logits=out.logits, features=out.features
        )
'''


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    """The run, exported by the command."""
    out = tmp_path_factory.mktemp("exports") / "joint"
    done = CliRunner().invoke(main, ["export", str(trained), "--out", str(out), "--json"])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["refused"] == {}
    assert report["files"] == {p.name: p.stat().st_size for p in sorted(out.iterdir())}
    return out


def test_an_export_predicts_as_its_run(exported, trained):
    model, run = mmtrain.load(exported), mmtrain.load(trained)
    inputs, shown = examples(run, 3)

    found, expected = (each.predict(inputs, shown) for each in (model, run))

    assert not model.training
    assert model.classes == run.classes
    assert torch.equal(found.fused, expected.fused)
    assert found.decided == expected.decided
    weights = load_file(exported / "model.safetensors")
    assert all(torch.equal(weights[n], value) for n, value in run.model.state_dict().items())


@pytest.mark.filterwarnings("ignore:The given buffer is not writable")  # torch.export.load's own
def test_the_program_computes_the_same_for_batches_of_any_size(exported, trained):
    program = torch.export.load(exported / "model.pt2").module()
    model = Logits(load(trained))

    for count in (1, 2, 5):
        inputs, shown = examples(model.predictor, count)
        found, expected = program(inputs, shown), model(inputs, shown)
        assert [*found] == ["fused", "audio", "visual"]
        for name, values in expected.items():
            assert torch.allclose(found[name], values, atol=1e-5), name


def test_the_card_has_the_facts(exported, trained):
    card = (exported / "README.md").read_text()
    test = json.loads((trained / "result.json").read_text())["test"]

    facts = json.loads((exported / "preparation.json").read_text())
    for text in (facts["root"], "| licence of the data | none |", "joint", "small-cnn", '"psd"'):
        assert text in card, text
    assert f"| test | {100 * test['accuracy']:.2f} % |" in card
    assert "On raw clips: `mmtrain predict DIR clip.mp4`. For" in card
    assert str(trained.parent) not in card + (exported / "config.json").read_text()


def test_a_damaged_export_is_named(exported, tmp_path):
    shutil.copytree(exported, tmp_path / "export")
    path = tmp_path / "export" / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)

    with pytest.raises(DataError, match=r"model\.safetensors: was changed or damaged"):
        load(tmp_path / "export")


def test_an_export_that_fails_leaves_nothing(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    (tmp_path / "run" / "result.json").write_text("{")

    with pytest.raises(DataError, match=r"result\.json"):
        export(tmp_path / "run", tmp_path / "out", programs=False)

    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    with pytest.raises(ConfigError, match="is not empty"):
        export(trained, tmp_path / "out")
    with pytest.raises(ConfigError, match="leave --no-program out"):
        export(trained, tmp_path / "out", programs=False, onnx=True)


def test_a_method_that_cannot_be_traced_is_named_and_its_weights_are_written(shards, tmp_path):
    (tmp_path / "stubborn.py").write_text(STUBBORN)
    method = f"{tmp_path / 'stubborn.py'}:Stubborn"
    with plugins.allowing():
        train(small(shards, epochs=1, method=method, modalities=("audio",)), tmp_path / "run")

        report = export(tmp_path / "run", tmp_path / "out")

        reason = report["refused"]["model.pt2"]
        assert "no program of the method" in reason
        assert "Stubborn" in reason
        assert {"model.safetensors", "README.md"} <= report["files"].keys()
        assert "model.pt2" not in report["files"]
        assert load(tmp_path / "out").modalities == ("audio",)


@pytest.mark.slow
def test_onnx_computes_the_same(trained, tmp_path):
    import onnxruntime

    export(trained, tmp_path / "out", onnx=True)

    session = onnxruntime.InferenceSession(str(tmp_path / "out" / "model.onnx"))
    model = Logits(load(trained))
    for count in (1, 4):
        inputs, shown = examples(model.predictor, count)
        feed = {m: x.numpy() for m, x in inputs.items()}
        feed |= {f"{m}_shown": x.numpy() for m, x in shown.items()}
        values = session.run(["fused_logits", "audio_logits", "visual_logits"], feed)
        for found, expected in zip(values, model(inputs, shown).values(), strict=True):
            assert np.allclose(found, expected.numpy(), atol=1e-4)


@pytest.mark.parametrize("task", ["regression", "localisation"])
def test_runs_of_other_tasks_are_exported(task_shards, task_run, task, tmp_path):
    folder, out = task_run(task), tmp_path / "export"

    report = export(folder, out, programs=task == "localisation")

    assert report["refused"] == {}
    assert ("model.pt2" in report["files"]) == (task == "localisation")
    found, expected = (predict(each, [str(task_shards(task))]) for each in (out, folder))
    assert found["predictions"] == expected["predictions"]
    card = (out / "README.md").read_text()
    assert ("| classes |" in card) == (task == "localisation")
    # The parameters of these shards are not known, so raw clips cannot become samples of them.
    assert "`mmtrain predict DIR SHARDS`. Not on raw clips: the parameters" in card
