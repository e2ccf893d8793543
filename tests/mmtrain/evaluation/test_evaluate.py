import json
import math

import pytest
import torch
from click.testing import CliRunner

from mmtrain.cli.main import main
from mmtrain.errors import ConfigError, DataError, RunError, UnknownName
from mmtrain.evaluation.evaluate import evaluate, predictions
from mmtrain.evaluation.missing import Missing
from mmtrain.evaluation.open_run import open_run
from mmtrain.functional import confidence, discrepancy
from mmtrain.training import checkpoint
from mmtrain.training.checkpoint import BEST
from tests.support.evalwork import THREE


def run(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.mark.parametrize(
    ("modalities", "changes"),
    [(("audio", "visual"), {}), (THREE, {"method": "multitask", "fusion": "sum"}), (("flow",), {})],
    ids=["two", "three", "one"],
)
def test_it_says_what_training_said_of_test_and_more(made, modalities, changes):
    folder = made(*modalities, **changes)
    said = json.loads((folder / "result.json").read_text())["test"]
    rho = {m: said.pop(f"rho.{m}") for m in modalities}

    found = evaluate(folder)

    assert found["discrepancy"] == rho

    assert {name: found[name] for name in said} == said
    assert list(found["modalities"]) == list(found["discrepancy"]) == list(modalities)
    assert (found["run"], found["split"], found["samples"]) == (str(folder), "test", 9)
    assert found["classes"] == [c["name"] for c in found["by_class"]] == ["low", "mid", "high"]
    assert [sum(row) for row in found["confusion"]] == [c["count"] for c in found["by_class"]]
    right = sum(found["confusion"][i][i] for i in range(3))
    assert right / 9 == found["accuracy"]
    assert found["missing"] == []
    assert json.loads((folder / "eval-test.json").read_text()) == found


def test_the_discrepancy_is_that_of_summed_confidences(made):
    with open_run(made("audio", "visual")) as finished:
        own = predictions(finished, "val").by_modality
        rows = finished.feed.dataset.ids("val")
        target = torch.from_numpy(finished.feed.dataset.targets[rows].astype("int64"))
    sums = {m: confidence(logits, target).sum() for m, logits in own.items()}

    found = evaluate(made("audio", "visual"), split="val")["discrepancy"]

    assert found == pytest.approx({m: rho.item() for m, rho in discrepancy(sums).items()})
    assert found["audio"] * found["visual"] == pytest.approx(1)


@pytest.mark.parametrize("modalities", [("audio", "visual"), THREE], ids=["two", "three"])
def test_missing_nothing_is_clean_and_missing_all_is_one_prediction(made, modalities):
    rates = tuple(dict.fromkeys(modalities, p) for p in (0.0, 0.5, 1.0))

    found = evaluate(made(*modalities), missing=Missing(rates=rates, draws=3, seed=7))

    none, _, everything = found["missing"]
    for name in ("accuracy", "map", "macro_f1"):
        assert none[name] == {"mean": pytest.approx(found[name]), "std": 0}
    # Always the same class, which has a third of the samples: its F1 is 2 * 3 / (3 + 9).
    assert everything["accuracy"] == {"mean": pytest.approx(1 / 3), "std": 0}
    assert everything["macro_f1"] == {"mean": pytest.approx(0.5 / 3), "std": 0}
    assert [said["rates"] for said in found["missing"]] == list(rates)
    assert all((said["draws"], said["seed"]) == (3, 7) for said in found["missing"])


def test_what_is_hidden_is_predicted_as_if_its_input_were_zero(made):
    with open_run(made("audio", "visual")) as finished:
        (mask,) = Missing(rates=({"audio": 0.5},), draws=1).masks(("audio", "visual"), 9)[0]
        _, fused, _, (hidden,), _ = predictions(finished, "test", [mask])
        encoder = finished.model.encoders["audio"]
        hook = encoder.register_forward_pre_hook(lambda _, given: torch.zeros_like(given[0]))
        zeroed = predictions(finished, "test").fused
        hook.remove()

    shown = torch.from_numpy(mask["audio"])
    assert shown.any()
    assert not shown.all()
    assert torch.allclose(hidden[shown], fused[shown], atol=1e-6)
    assert torch.allclose(hidden[~shown], zeroed[~shown], atol=1e-6)
    assert not torch.allclose(fused[~shown], zeroed[~shown], atol=1e-4)


def test_deviations_are_over_draws(made):
    missing = Missing(rates=({"audio": 0.5},), draws=4)
    with open_run(made("audio", "visual")) as finished:
        masks = missing.masks(("audio", "visual"), 9)[0]
        ids = finished.feed.dataset.ids("test")
        target = torch.from_numpy(finished.feed.dataset.targets[ids].astype("int64"))
        drawn = predictions(finished, "test", masks).masked
    each = [(fused.argmax(-1) == target).double().mean().item() for fused in drawn]
    mean = sum(each) / 4
    std = math.sqrt(sum((x - mean) ** 2 for x in each) / 3)

    (found,) = evaluate(made("audio", "visual"), missing=missing)["missing"]

    assert found["accuracy"] == {"mean": pytest.approx(mean), "std": pytest.approx(std)}


def test_nothing_of_the_run_changes(made):
    folder = made("audio", "visual")
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file() and "eval-" not in p.name}
    evaluate(folder)
    after = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file() and "eval-" not in p.name}
    assert after == before


def test_wrong_requests(made, other_shards, tmp_path):
    folder = made("audio", "visual")
    with pytest.raises(ConfigError, match="holds no run"):
        evaluate(tmp_path)
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    with pytest.raises(ConfigError, match=r"no best\.pt yet.*--resume"):
        evaluate(tmp_path)
    with pytest.raises(UnknownName, match="did you mean test"):
        evaluate(folder, split="tset")
    with pytest.raises(UnknownName, match="no modality of this run 'flow'"):
        evaluate(folder, missing=Missing(rates=({"flow": 0.1},)))
    with pytest.raises(DataError, match="trained on other data"):
        evaluate(folder, data=str(other_shards))


def test_predictions_that_are_no_numbers_are_a_failure(made, tmp_path):
    folder = made("audio", "visual")
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    saved = checkpoint.load(folder / BEST)
    saved["model"] = {name: value * math.nan for name, value in saved["model"].items()}
    checkpoint.save(tmp_path / BEST, saved)
    with pytest.raises(RunError, match="no number for 9 samples of test, clip_"):
        evaluate(tmp_path)


def test_the_command(made):
    folder = made("audio", "visual")

    done = run("eval", folder, "--split", "val", "--missing", "audio=0.25", "--draws", 2)
    assert done.exit_code == 0, done.output
    found = json.loads((folder / "eval-val.json").read_text())
    assert f"{folder}: joint, epoch 1, 9 samples of val" in done.stdout
    for line in ("fused ", "audio 25%", "low ", "2 high "):
        assert any(row.startswith(line) for row in done.stdout.splitlines()), line
    assert f"{found['accuracy']:.3f}" in done.stdout

    done = run("eval", folder, "--split", "val", "--missing", "audio=0.25", "--draws", 2, "--json")
    assert json.loads(done.stdout) == found

    assert run("eval", folder, "--missing", "audio=").exit_code == 2
    assert run("eval", folder, "--force", "--data", folder).exit_code == 2
