import json
import math

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from sklearn.linear_model import LogisticRegression

from mmtrain.cli import tables
from mmtrain.cli.main import main
from mmtrain.errors import ConfigError, DataError, RunError
from mmtrain.evaluation.open_run import open_run
from mmtrain.evaluation.probe import probe
from mmtrain.training import checkpoint
from mmtrain.training.checkpoint import BEST
from mmtrain.training.linear_probe import FIXED, STRENGTHS, features_of, measure_probe
from mmtrain.training.regression import Examples, fit, objective
from mmtrain.training.train import train
from tests.support.enginework import small
from tests.support.evalwork import THREE, NoVal
from tests.support.shardmaker import shards_of


def run(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def examples(*rows):
    """Samples of one feature: pairs of it and the class."""
    features, target = zip(*rows, strict=True)
    return Examples(torch.tensor(features)[:, None], torch.tensor(target))


def test_the_head_by_hand():
    # Features -1 and 1 of classes 0 and 1. By symmetry W = (-w, w) and b = 0, so the loss is
    # log(1 + exp(-2 w)) + strength w^2, least where strength = 1 / (w (1 + exp(2 w))).
    strength = 1 / (0.5 * (1 + math.e))
    two = Examples(torch.tensor([[-1.0], [1.0]]).double(), torch.tensor([0, 1]))

    head = fit(two, torch.zeros(2, 2).double(), strength)

    assert head.tolist() == [pytest.approx([-0.5, 0.5], abs=1e-4), pytest.approx([0, 0], abs=1e-4)]


def hard(strength):
    """A head of scikit-learn for features of very different size and much overlap."""
    random = np.random.default_rng(0)
    target = np.arange(300) % 5
    features = random.normal(0, 1, (300, 40)) @ random.normal(0, 1, (40, 40))
    features[:, :5] += np.eye(5)[target]
    features = (features - features.mean(0)) / features.std(0)
    # Its loss is a sum over samples, ours a mean.
    known = LogisticRegression(C=1 / (300 * strength), tol=1e-9, max_iter=100_000)
    known.fit(features, target)
    head = np.vstack([known.coef_.T, known.intercept_])
    rows = Examples(torch.from_numpy(features), torch.from_numpy(target))
    return rows, torch.from_numpy(head)


@pytest.mark.parametrize("strength", [1e-1, 1e-4, 1e-5])
def test_the_loss_is_as_low_as_that_of_scikit_learn(strength):
    rows, known = hard(strength)

    head = fit(rows, torch.zeros(41, 5).double(), strength).requires_grad_()
    loss = objective(rows, head, strength)
    loss.backward()

    assert head.grad.abs().max() < 1e-6
    assert loss.item() <= objective(rows, known, strength).item() + 1e-7


def test_features_that_are_no_numbers_name_modality_and_sample(made, tmp_path):
    folder = made("audio", "visual")
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    saved = checkpoint.load(folder / BEST)
    name = next(n for n in saved["model"] if n.startswith("encoders.visual."))
    saved["model"][name] = saved["model"][name] * math.nan
    checkpoint.save(tmp_path / BEST, saved)

    with pytest.raises(RunError, match="the visual encoder gives no number for sample clip_0000"):
        probe(tmp_path)


def test_the_bias_is_not_held_back():
    # The feature says nothing, three of four are of class 1: the bias alone gives these odds.
    rows = Examples(torch.zeros(4, 1).double(), torch.tensor([0, 1, 1, 1]))
    head = fit(rows, torch.zeros(2, 2).double(), 100.0)
    assert (head[1, 1] - head[1, 0]).item() == pytest.approx(math.log(3), abs=1e-3)
    assert head[0].tolist() == [0, 0]


def blobs(width, classes, samples, seed, scale=1e4):
    """Features of any size of which the class can be read off by a plane."""
    random = torch.Generator().manual_seed(seed)
    target = torch.arange(samples) % classes
    features = torch.randn(samples, width, generator=random)
    features[torch.arange(samples), target] += 20
    return Examples(scale * features + 3, target)


def test_what_a_plane_separates_is_read_off():
    sets = {name: blobs(6, 4, 40, seed) for seed, name in enumerate(("train", "val", "test"))}
    said, _ = measure_probe(sets, "test", 4)
    assert (said["accuracy"], said["map"], said["macro_f1"]) == (1, 1, 1)


def test_features_that_say_nothing_give_chance():
    sets = {name: blobs(6, 4, 40, seed) for seed, name in enumerate(("train", "val", "test"))}
    constant = {name: each._replace(features=torch.ones(40, 6)) for name, each in sets.items()}
    said, _ = measure_probe(constant, "test", 4)
    assert said["accuracy"] == 0.25


def test_the_statistics_are_those_of_train():
    # Standardised by itself, the shifted split would be read right.
    sets = {name: blobs(3, 2, 40, seed, scale=1) for seed, name in enumerate(("train", "test"))}
    sets["test"].features[:, 0] += 1000
    said, strength = measure_probe(sets, "test", 2)
    assert (said["accuracy"], strength) == (0.5, FIXED)


# Nine in ten are of class 1. A weak head reads the feature, a strong one goes by the odds.
TRAIN = examples((-1.0, 0), *[(1.0, 1)] * 9)
READS = examples(*[(-1.0, 0), (1.0, 1)] * 3)
ODDS = examples(*[(-1.0, 1), (1.0, 1)] * 3)


@pytest.mark.parametrize(("val", "test"), [(READS, ODDS), (ODDS, READS)], ids=["weak", "strong"])
def test_the_strength_is_chosen_on_val_never_on_test(val, test):
    said, strength = measure_probe({"train": TRAIN, "val": val, "test": test}, "test", 2)

    # What val chose is wrong for every second sample of test.
    assert said["accuracy"] == 0.5
    assert (strength == STRENGTHS[0]) == (val is ODDS)
    again, same = measure_probe({"train": TRAIN, "val": val, "test": val}, "test", 2)
    assert (again["accuracy"], same) == (1, strength)


def test_the_encoder_is_frozen_and_sees_each_sample_once(made):
    with open_run(made(*THREE)) as finished:
        before = {name: value.clone() for name, value in finished.model.state_dict().items()}
        _, found = features_of(finished.evaluation, "train")
        batches = list(finished.batches("train"))
        with torch.no_grad():
            finished.model.eval()
            expected = [finished.model.encode(batch) for batch in batches]
    assert list(found) == list(THREE)
    for modality, each in found.items():
        assert each.features.shape == (18, 64)
        wanted = torch.cat([features[modality] for features in expected])
        assert torch.allclose(each.features, wanted, atol=1e-6)
        assert torch.equal(each.target, torch.cat([batch.target for batch in batches]))
    for name, value in finished.model.state_dict().items():
        assert torch.equal(value, before[name])


def test_a_run_and_encoders_trained_alone(made):
    folder, audio = made(*THREE, method="multitask", fusion="sum"), made("audio")
    own = json.loads((folder / "result.json").read_text())["test"]["modalities"]

    found = probe(folder, alone=[audio])

    assert json.loads((folder / "probe-test.json").read_text()) == found
    assert (found["run"], found["split"], found["strength_from"]) == (str(folder), "test", "val")
    assert list(found["modalities"]) == list(THREE)
    for modality, said in found["modalities"].items():
        assert said["own_accuracy"] == own[modality]["accuracy"]
        assert said["strength"] in STRENGTHS
    assert found["modalities"]["audio"]["accuracy"] > 1 / 3
    alone = found["modalities"]["audio"]["alone"]
    assert alone["run"] == str(audio)
    assert alone["gap"] == alone["accuracy"] - found["modalities"]["audio"]["accuracy"]
    assert found["modalities"]["visual"]["alone"] is None
    assert not (audio / "probe-test.json").exists()
    assert {k: v for k, v in alone.items() if k not in ("run", "weights", "gap")} == {
        k: v for k, v in probe(audio)["modalities"]["audio"].items() if k != "alone"
    }


def test_without_val_the_strength_is_fixed_and_said_to_be(tmp_path, capsys):
    shards = shards_of(tmp_path / "shards", NoVal, samples=12)
    train(small(shards, epochs=1), tmp_path / "run")

    found = probe(tmp_path / "run")

    assert found["strength_from"] == "fixed"
    assert all(said["strength"] == FIXED for said in found["modalities"].values())
    tables.show(tables.probes(found))
    assert "fixed, for there is no val" in " ".join(capsys.readouterr().out.split())


def test_wrong_requests(made, other_shards, tmp_path):
    folder, audio = made("audio", "visual"), made("audio")
    with pytest.raises(ConfigError, match="a run of audio, visual, flow; name one"):
        probe(folder, alone=[made(*THREE)])
    with pytest.raises(ConfigError, match=r"a run of flow, which .* lacks; it has audio, visual"):
        probe(folder, alone=[made("flow")])
    with pytest.raises(ConfigError, match="both of audio"):
        probe(folder, alone=[audio, audio])
    with pytest.raises(ConfigError, match="holds no run"):
        probe(folder, alone=[tmp_path])
    config = small(other_shards, epochs=1, modalities=("visual",))
    train(config, tmp_path / "other")
    with pytest.raises(DataError, match="other: was trained on other data"):
        probe(folder, alone=[tmp_path / "other"])
    (tmp_path / "other" / "best.pt").unlink()
    with pytest.raises(ConfigError, match=r"other has no best\.pt"):
        probe(folder, alone=[tmp_path / "other"])
    with pytest.raises(ConfigError, match="no split 'tset'"):
        probe(folder, split="tset")


def test_the_command(made):
    folder, audio = made("audio", "visual"), made("audio")

    done = run("probe", folder, "--alone", audio)

    assert done.exit_code == 0, done.output
    title, _, heads, *rows = done.stdout.splitlines()
    assert title.startswith(f"{folder}: joint, linear probes on test; strength")
    assert heads.split()[-2:] == ["alone", "gap"]
    assert [row.split()[0] for row in rows] == ["audio", "visual"]
    assert rows[1].split()[-2:] == ["-", "-"]
    done = run("probe", folder, "--alone", audio, "--json")
    assert json.loads(done.stdout) == json.loads((folder / "probe-test.json").read_text())
    assert run("probe", folder, "--alone", folder).exit_code == 2
