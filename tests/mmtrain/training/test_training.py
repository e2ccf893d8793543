"""Whole runs: what they write, and how they stop."""

import json
import logging
from dataclasses import dataclass

import pytest
import torch

from mmtrain.config.run import OptimizerConfig, ScheduleConfig
from mmtrain.errors import ConfigError, RunError, UnknownName
from mmtrain.methods.base import Method
from mmtrain.training import checkpoint
from mmtrain.training.checkpoint import BEST, CHECKPOINT
from mmtrain.training.run import LEDGER
from mmtrain.training.train import train
from tests.support.enginework import STEPS, lines, running, same, small
from tests.support.shardmaker import Recipe, shards_of

SETS = [("audio",), ("visual",), ("audio", "visual"), ("audio", "visual", "flow")]


@pytest.mark.parametrize("modalities", SETS, ids="+".join)
@pytest.mark.parametrize("method", ["joint", "multitask"])
def test_a_run_writes_what_it_did(shards, tmp_path, method, modalities):
    config = small(shards, method=method, modalities=modalities)

    result = train(config, tmp_path / "run")

    (first, last) = lines(tmp_path / "run")
    assert (first["epoch"], last["epoch"]) == (0, 1)
    assert min(first["train_loss"], last["train_loss"]) > 0
    assert first["lr"] == 0.05
    for said in (first["val"], last["val"], result["test"]):
        rho = {f"rho.{m}" for m in modalities}
        assert set(said) == {"accuracy", "map", "macro_f1", "loss", "modalities", *rho}
        assert tuple(said["modalities"]) == modalities
        assert 0 <= said["accuracy"] <= 1
    assert result["epochs"] == 2
    assert json.loads((tmp_path / "run/result.json").read_text()) == result
    written = {p.name for p in (tmp_path / "run").iterdir()}
    assert written == {
        *("config.json", "run.json", "preparation.json", "metrics.jsonl", CHECKPOINT, BEST),
        *(LEDGER, "result.json"),
    }  # fmt: skip


def test_the_same_seed_gives_the_same_run_and_another_another(shards, tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        train(small(shards, seed=seed), tmp_path / name)

    assert same(tmp_path / "a", tmp_path / "b")
    assert lines(tmp_path / "a") != lines(tmp_path / "c")


def test_half_precision_leaves_weights_whole(shards, tmp_path):
    for name, precision in (("half", "bf16"), ("full", "fp32")):
        train(small(shards, precision=precision, epochs=1), tmp_path / name)

    half, full = (checkpoint.load(tmp_path / n / CHECKPOINT)["model"] for n in ("half", "full"))
    assert {v.dtype for v in half.values()} == {torch.float32}
    assert any(not torch.equal(half[name], full[name]) for name in full)
    assert (
        abs(lines(tmp_path / "half")[0]["train_loss"] - lines(tmp_path / "full")[0]["train_loss"])
        < 0.1
    )


@pytest.mark.parametrize("name", ["constant", "step", "cosine", "plateau"])
def test_every_schedule_and_adamw_run(shards, tmp_path, name):
    config = small(
        shards,
        optimizer=OptimizerConfig(name="adamw", lr=1e-3, clip=1.0),
        schedule=ScheduleConfig(name=name, every=1, warmup=1),
    )
    train(config, tmp_path)
    assert [line["lr"] for line in lines(tmp_path)] == pytest.approx(
        [5e-4, 1e-4 if name == "step" else 1e-3]
    )


def test_a_loss_that_is_no_number_stops_and_names_its_samples(shards, tmp_path):
    @dataclass(kw_only=True, eq=False)
    class Broken(Method):
        def loss(self, run, out, batch):
            ruin = float("nan") if run.steps == STEPS + 2 else 1.0
            return super().loss(run, out, batch) * ruin

    with running(small(shards), tmp_path, Broken()) as run, pytest.raises(RunError) as caught:
        run.method.fit(run)

    said = str(caught.value)
    assert said.startswith("the loss is nan at step 8 (epoch 2), samples clip_")
    with running(small(shards), tmp_path / "again") as run:
        order = run.curriculum.visits(run.ids, 0, 1).ids[8:12]
        assert ", ".join(run.feed.dataset.key(i) for i in order.tolist()) in said
    assert str(tmp_path / CHECKPOINT) in said
    saved = checkpoint.load(tmp_path / CHECKPOINT)
    assert saved["epoch"] == 1
    assert all(v.isfinite().all() for v in saved["model"].values())


def test_predictions_that_are_no_numbers_stop(shards, tmp_path):
    @dataclass(kw_only=True, eq=False)
    class Ruined(Method):
        def fit(self, run):
            for _ in run.epochs():
                with torch.no_grad():
                    run.model.fusion.head.bias.fill_(torch.inf)

    with (
        running(small(shards), tmp_path, Ruined()) as run,
        pytest.raises(RunError, match="gives no number"),
    ):
        run.method.fit(run)


def test_the_test_uses_the_epoch_that_was_best_on_val(shards, tmp_path):
    @dataclass(kw_only=True, eq=False)
    class Spoilt(Method):
        def fit(self, run):
            for epoch in run.epochs():
                run.train_epoch(self)
                if epoch == 2:
                    with torch.no_grad():
                        run.model.fusion.head.weight.neg_()

    config = small(shards, epochs=3)
    with running(config, tmp_path / "spoilt", Spoilt()) as run:
        run.method.fit(run)
    result = train(config, tmp_path / "spoilt", resume=True)
    straight = train(small(shards, epochs=3), tmp_path / "straight")

    accuracies = [line["val"]["accuracy"] for line in lines(tmp_path / "spoilt")]
    assert accuracies[2] < max(accuracies)
    assert result["best_epoch"] != 2
    assert accuracies[result["best_epoch"]] == max(accuracies)
    if straight["best_epoch"] == result["best_epoch"]:
        assert result["test"] == straight["test"]


def test_too_few_samples_for_a_batch_are_refused(shards, tmp_path):
    with pytest.raises(ConfigError, match="18 samples, fewer than one batch of 64; lower"):
        train(small(shards, batch_size=64), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_classes_that_are_not_in_train_are_named(lopsided, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        train(small(lopsided, epochs=1), tmp_path / "run")
    assert "the train split has no sample of" in caplog.text
    assert "which val has" in caplog.text


def test_what_the_shards_do_not_have_is_refused(shards, tmp_path):
    with pytest.raises(ConfigError, match="depth"):
        train(small(shards, modalities=("depth",)), tmp_path / "run")
    with pytest.raises(UnknownName, match="no method 'jiont'; did you mean joint"):
        train(small(shards, method="jiont"), tmp_path / "run")
    with pytest.raises(UnknownName, match="no parameter of method joint 'alpha'"):
        train(small(shards, settings={"method": {"alpha": 1}}), tmp_path / "run")


def test_lack_of_memory_names_the_batch_size(shards, tmp_path):
    @dataclass
    class Greedy:
        """Asks for more than there is when the first step is done."""

        def step(self, epoch, step, steps, said):
            torch.empty(2**60, dtype=torch.uint8)

        def epoch(self, line): ...

    with pytest.raises(RunError, match="out of memory with a batch size of 4"):
        train(small(shards), tmp_path / "run", watch=Greedy())


def test_a_folder_that_is_not_empty_is_refused(shards, tmp_path):
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(ConfigError, match="not empty"):
        train(small(shards), tmp_path)
    with pytest.raises(ConfigError, match="holds no run"):
        train(small(shards), tmp_path, resume=True)


class _WithoutVal(Recipe):
    def split(self, i: int) -> str:
        return ("train", "test")[i % 2]


def test_training_without_val_warns(tmp_path, caplog):
    folder = shards_of(tmp_path / "shards", _WithoutVal)
    train(small(folder, epochs=1), tmp_path / "run")
    assert "no sample in val" in caplog.text
