"""What every method of the catalog must do, with two and with three modalities."""

import importlib
import json
import shutil
from dataclasses import replace

import pytest
import torch

from mmtrain.config.overrides import resolved
from mmtrain.config.run import OptimizerConfig, TrainConfig
from mmtrain.curricula.catalog import CURRICULA
from mmtrain.data import open_dataset
from mmtrain.errors import Interrupted
from mmtrain.methods.base import Method
from mmtrain.methods.catalog import METHODS
from mmtrain.training import checkpoint
from mmtrain.training.assemble import assemble, fitted
from mmtrain.training.run import BEST, CHECKPOINT
from mmtrain.training.train import RESULT, train
from tests.support.enginework import Stop, differing, flat, lines, same, small
from tests.support.rankwork import plan, said, together
from tests.support.shardmaker import shards_of

MODALITIES = (("audio", "visual"), ("audio", "visual", "flow"))
EACH = pytest.mark.parametrize("modalities", MODALITIES, ids=["two", "three"])
METHOD = pytest.mark.parametrize("method", METHODS.names)
STOP = 5  # of 3 steps an epoch: inside the second

# Where twelve samples in so few epochs are too few for all to take their turn.
SETTINGS: dict[str, dict[str, dict[str, object]]] = {
    "bss-h": {"curriculum": {"start": 0.9}},
    "g-blend": {"method": {"interval": 1}},
    "lfm-lb": {"method": {"held": 3}},
}


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """12 samples to train on, 6 each in val and test, in three classes: audio, visual, flow."""
    return shards_of(tmp_path_factory.mktemp("conforming"), samples=24)


def config_of(shards, method, modalities, **changes):
    given = {
        "method": method,
        "modalities": modalities,
        "optimizer": OptimizerConfig(lr=0.01),
        "settings": {"encoder": {"width": 64}, **SETTINGS.get(method, {})},
        "epochs": max(2, len(modalities)),
    }
    return small(shards, **{**given, **changes})


@pytest.fixture(scope="module")
def straight(shards, tmp_path_factory):
    """Makes the undisturbed run of a method and modalities, once."""
    made = {}

    def run_of(method, modalities):
        if (method, modalities) not in made:
            folder = made[method, modalities] = tmp_path_factory.mktemp("straight")
            train(config_of(shards, method, modalities), folder)
        return made[method, modalities]

    return run_of


@EACH
@METHOD
def test_it_trains_and_everything_stays_finite(straight, method, modalities):
    folder = straight(method, modalities)

    for name, value in checkpoint.load(folder / CHECKPOINT)["model"].items():
        assert value.isfinite().all(), name
    for line in lines(folder):
        assert all(abs(value) < float("inf") for value in line["logged"].values())
        assert 0 < line["train_loss"] < 100
    measured = json.loads((folder / RESULT).read_text())["test"]
    assert set(measured["modalities"]) == set(modalities)


@EACH
@METHOD
def test_a_resumed_run_is_the_straight_run(straight, shards, tmp_path, method, modalities):
    config, watch = config_of(shards, method, modalities), Stop(STOP)
    tmp_path.joinpath("run").mkdir()
    with open_dataset(config.data) as dataset:
        config = fitted(config, dataset)
        (tmp_path / "run" / "config.json").write_text(config.to_json())
        with assemble(config, dataset, tmp_path / "run", watch=watch) as run:
            watch.run = run
            with pytest.raises(Interrupted):
                run.method.fit(run)

    train(config, tmp_path / "run", resume=True)

    assert same(straight(method, modalities), tmp_path / "run")


@EACH
@METHOD
def test_a_trial_leaves_the_run_bit_for_bit_as_it_was(
    straight, shards, tmp_path, method, modalities
):
    config = config_of(shards, method, modalities)
    with (
        open_dataset(config.data) as dataset,
        assemble(fitted(config, dataset), dataset, tmp_path) as run,
    ):
        train_epoch = run.train_epoch

        def tried(method):
            # A trial of the method's own has no other inside.
            if run._trial is None:
                with run.trial():
                    train_epoch(method)
            train_epoch(method)

        run.train_epoch = tried
        run.method.fit(run)

    mine, theirs = (
        flat(checkpoint.load(f / CHECKPOINT)) for f in (tmp_path, straight(method, modalities))
    )
    assert not differing(mine, theirs, "/lines", "/tried")
    trials, own = (
        sum("trial" in line for line in lines(folder))
        for folder in (tmp_path, straight(method, modalities))
    )
    assert trials == own + config.epochs


@EACH
@METHOD
def test_snapshot_and_rates_fit_whatever_it_builds(straight, shards, method, modalities, tmp_path):
    config = config_of(shards, method, modalities)
    shutil.copytree(straight(method, modalities), tmp_path, dirs_exist_ok=True)
    with (
        open_dataset(config.data) as dataset,
        assemble(fitted(config, dataset), dataset, tmp_path) as run,
    ):
        before, encoder = run.snapshot(), run.model.encoders[modalities[0]]
        with torch.no_grad():
            for value in run.model.state_dict().values():
                value.mul_(2)
        run.renew_optimizer()
        run.restore(before)
        saved = checkpoint.load(tmp_path / CHECKPOINT)
        state = {**run.model.state_dict(), **flat(run.optimizer_state())}
        for name, value in {**saved["model"], **flat(saved["optimizer"])}.items():
            assert torch.equal(state[name], value), name
        rates = run.rates()
        run.set_rate(0.5, encoder)
        own = {f"encoders.{modalities[0]}.{n}" for n, _ in encoder.named_parameters()}
        halved = {n: rate * (0.5 if n in own else 1) for n, rate in rates.items()}
        assert run.rates() == pytest.approx(halved)


@EACH
@METHOD
def test_every_parameter_is_updated_once_and_moves(shards, tmp_path, method, modalities):
    config = config_of(shards, method, modalities)
    with open_dataset(config.data) as dataset:
        with assemble(fitted(config, dataset), dataset, tmp_path) as run:
            named = run.model.named_parameters()
            before = {n: p.detach().clone() for n, p in named if p.requires_grad}
            run.method.fit(run)
        assert set(run.rates()) == {n for n, p in run.model.named_parameters() if p.requires_grad}
        after = dict(run.model.named_parameters())
        assert not [name for name, value in before.items() if torch.equal(value, after[name])]


@EACH
@METHOD
def test_it_predicts_logits_fused_and_by_modality(straight, shards, method, modalities):
    config = config_of(shards, method, modalities)
    with open_dataset(config.data) as dataset:
        run = assemble(fitted(config, dataset), dataset, straight(method, modalities), file=BEST)
        run.model.eval()
        batch = next(run.batches("val"))
        shown = {modalities[0]: torch.zeros(len(batch), dtype=torch.bool)}
        with torch.no_grad():
            whole = run.method.predict(run.model, batch)
            hidden = run.method.predict(run.model, replace(batch, shown=shown))

    for out in (whole, hidden):
        assert out.fused.shape == (len(batch), 3)
        assert list(out.logits) == list(modalities)
        assert all(z.shape == (len(batch), 3) for z in out.logits.values())
        assert all(z.isfinite().all() for z in (out.fused, *out.logits.values()))


@EACH
@METHOD
def test_it_runs_in_half_precision_and_with_a_curriculum(shards, tmp_path, method, modalities):
    curriculum = METHODS.entry(method).curriculum or "bss-l"
    config = config_of(shards, method, modalities, precision="bf16", curriculum=curriculum)
    train(config, tmp_path)
    assert all(line["train_loss"] < 100 for line in lines(tmp_path))
    assert (tmp_path / "scores.h5").exists()


@METHOD
def test_its_parameters_survive_the_config_file(shards, method):
    config = resolved(config_of(shards, method, MODALITIES[0]))
    again = TrainConfig.from_json(config.to_json(), "test")
    assert not config.differences(again)
    made = METHODS.load(method)(**again.settings["method"])
    assert isinstance(made, Method)
    for name, value in again.settings["method"].items():
        kept = getattr(made, name)
        assert kept == (tuple(value) if isinstance(kept, tuple) else value)


@METHOD
def test_it_says_where_it_is_from_and_what_may_be_set(method):
    found = METHODS.explain(method)
    assert all(p.help for p in found.parameters), [p.name for p in found.parameters if not p.help]
    assert "``" in found.text
    if found.entry.paper != "-":
        curriculum = found.entry.curriculum
        told = CURRICULA.load(curriculum) if curriculum else METHODS.load(method)
        module = importlib.import_module(told.__module__)
        assert found.entry.paper.partition(" ")[0] in module.__doc__
        assert found.entry.paper[-4:] in module.__doc__


@pytest.mark.slow
@EACH
def test_two_ranks_come_to_what_one_comes_to(shards, tmp_path, modalities):
    config = {method: config_of(shards, method, modalities) for method in METHODS.names}
    together(
        [
            plan(tmp_path / f"{method}-{world}", config[method], world)
            for method in METHODS.names
            for world in (1, 2)
        ]
    )
    apart = {}
    for method in METHODS.names:
        one, two = (tmp_path / f"{method}-{world}" for world in (1, 2))
        assert [said(folder, 0) for folder in (one, two)] == ["done", "done"], method
        apart[method] = differences(one, two)
    assert not any(apart.values()), apart


def differences(one, two):
    """Weights and measures that differ by more than floats do in sums of another order."""
    mine, theirs = (checkpoint.load(folder / CHECKPOINT)["model"] for folder in (one, two))
    wrong = [n for n, v in mine.items() if not torch.allclose(v, theirs[n], rtol=1e-2, atol=2e-4)]
    for line, other in zip(lines(one), lines(two), strict=True):
        if line["train_loss"] != pytest.approx(other["train_loss"], rel=1e-3):
            wrong.append(f"loss of epoch {line['epoch']}")
        if line["logged"] != pytest.approx(other["logged"], rel=1e-2, abs=1e-3):
            wrong.append(f"logged in epoch {line['epoch']}")
    return wrong
