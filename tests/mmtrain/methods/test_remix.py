"""Remix: the loss by hand, and which parts of the model a batch moves."""

import pytest
import torch

from mmtrain.errors import ConfigError
from mmtrain.methods.remix import Remix, objective
from tests.support.enginework import running, small
from tests.support.methodwork import batch_normalised

TWO = ("audio", "visual")
THREE = (*TWO, "flow")


def of(*shown):
    return torch.tensor(shown)


def test_the_loss_by_hand():
    # CE: f .109250, audio .151191, visual .773300. All: .109250 + (.151191 + .773300) / 2; the
    # visual alone: .109250 + .773300; audio alone: .109250 + .151191.
    fused = torch.full((3,), 0.109250)
    own = {"audio": torch.full((3,), 0.151191), "visual": torch.full((3,), 0.773300)}
    shown = {"audio": of(True, False, True), "visual": of(True, True, False)}

    losses = objective(fused, own, shown)

    assert losses.tolist() == pytest.approx([0.5714955, 0.88255, 0.260441], abs=1e-6)
    assert objective(fused, own, {}).tolist() == pytest.approx([0.5714955] * 3, abs=1e-6)


def test_the_loss_does_not_know_the_order_of_modalities():
    fused, own = torch.rand(5), {m: torch.rand(5) for m in THREE}
    shown = {"flow": torch.rand(5) < 0.5}
    swapped = {m: own[m] for m in reversed(THREE)}
    torch.testing.assert_close(objective(fused, own, shown), objective(fused, swapped, shown))


def test_a_sample_that_shows_nothing_has_the_fused_loss_alone():
    losses = objective(torch.ones(1), {"audio": torch.ones(1)}, {"audio": of(False)})
    assert losses.tolist() == [1]


@pytest.mark.parametrize("modalities", [TWO, THREE], ids=["two", "three"])
def test_what_a_batch_hides_stays_as_it_is(shards, tmp_path, modalities):
    config = small(shards, modalities=modalities)
    with running(config, tmp_path, batch_normalised(Remix())) as run:
        first = next(run.batches("train"))
        run.model.train()
        run.method.step(run, first)  # So that there is momentum.
        parts = {
            m: [*run.model.encoders[m].state_dict().values(), *run.model.heads[m].parameters()]
            for m in modalities
        }
        before = {m: [value.clone() for value in values] for m, values in parts.items()}
        run.method.step(run, first.only("visual"))

        moved = {
            m: any(not torch.equal(a, b) for a, b in zip(before[m], parts[m], strict=True))
            for m in modalities
        }
    assert moved == {m: m == "visual" for m in modalities}


def test_features_of_hidden_samples_count_as_nothing(shards, tmp_path):
    with running(small(shards), tmp_path, Remix()) as run:
        batch = next(run.batches("train")).hiding(audio=of(True, False, True, False))
        run.model.train()
        features = run.model.encode(batch)
        features["audio"] = features["audio"] * batch.shown["audio"][:, None]
        out = run.model.classify(features)
        own = {m: run.task.losses(z, batch.target) for m, z in out.logits.items()}
        expected = own["visual"] / of(1, 2, 1, 2) + own["audio"] * of(0, 0.5, 0, 0.5)
        expected = (run.task.losses(out.fused, batch.target) + expected).mean()
        losses = []
        run.minimise = losses.append
        run.method.step(run, batch)
    torch.testing.assert_close(losses[0], expected)


def test_a_fusion_with_exchange_is_refused(shards, tmp_path):
    with (
        pytest.raises(ConfigError, match="remix trains encoders alone"),
        running(small(shards, fusion="mmtm"), tmp_path, Remix()),
    ):
        pass
