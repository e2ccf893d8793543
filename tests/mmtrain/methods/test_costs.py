"""Passes and waits of a step of each method, of which docs/speed.md has the table."""

from dataclasses import replace

import pytest
import torch

from mmtrain.config.overrides import resolved
from mmtrain.evaluation.conformance import FUSIONS_OF
from mmtrain.methods.agm import AGM
from mmtrain.methods.catalog import METHODS
from mmtrain.methods.g_blend import GBlend
from mmtrain.training import loss_log
from tests.support.costs import Passes, counting_waits
from tests.support.enginework import first, running, small
from tests.support.methodwork import batch_normalised

BOTH = ("audio", "visual")
BATCH = 4
# `umt` and `g2d` need trained teachers; the others are joint training in another order.
APART = ("umt", "g2d", "bss-h", "bss-l", "smv")
# Method to the multiples of the batch that go through the encoders of audio and of visual, forward
# and back, where that is not once each.
PASSES = {
    "agm": (1 + 1 / BATCH, 1 + 1 / BATCH, 1 + 1 / BATCH, 1 + 1 / BATCH),
    "igm": (2, 0, 2, 0),
    "igm-nosam": (1, 0, 1, 0),
    "mmpareto": (1, 1, 2, 2),
    "reconboost": (1, 1, 1, 0),
    "reconboost-released": (1, 1, 1, 0),
    "sam": (2, 2, 2, 2),
}
# Method to the times that the CPU waits for a GPU in a step; the others let it run ahead.
WAITS = {
    "dropout-evolutional": 2,  # Draws on the CPU, in float64, from chances of the device.
    "greedy": 1,  # Decides which gates the next step takes.
}


@pytest.fixture(autouse=True)
def _as_on_a_gpu(monkeypatch):
    """Lets losses gather, as they do where looking at them is a wait."""
    monkeypatch.setitem(loss_log._UNSETTLED, "cpu", 16)


def costs_of_a_step(run):
    """Passes, as in `PASSES`, and waits of a method's second step."""
    run.model.train()
    batch = first(run)
    assert len(batch) == BATCH
    run.method.step(run, batch)
    passes = Passes(run.model)
    with counting_waits() as waits:
        run.method.step(run, batch)
    samples = (*passes.forward.values(), *passes.backward.values())
    return tuple(count / BATCH for count in samples), waits.count


@pytest.mark.parametrize("name", [name for name in METHODS.names if name not in APART])
def test_a_step_has_the_passes_and_waits_that_its_method_needs(shards, tmp_path, name):
    config = small(shards, method=name, modalities=BOTH, epochs=50)
    held = {"method": {"held": BATCH}} if name == "lfm-lb" else {}
    fusion = FUSIONS_OF.get(name, config.fusion)
    config = resolved(replace(config, fusion=fusion, settings={**config.settings, **held}))
    with running(config, tmp_path, METHODS.load(name)(**config.settings["method"])) as run:
        passes, waits = costs_of_a_step(run)

    assert passes == PASSES.get(name, (1, 1, 1, 1))
    assert waits == WAITS.get(name, 0)


@pytest.mark.parametrize("modalities", [BOTH, (*BOTH, "flow")], ids=["two", "three"])
def test_agm_takes_two_passes_where_encoders_look_at_their_mode(shards, tmp_path, modalities):
    config = small(shards, modalities=modalities)
    with running(config, tmp_path, batch_normalised(AGM())) as run:
        passes, waits = costs_of_a_step(run)

    assert passes == (2 + 1 / BATCH,) * 2 * len(modalities)
    assert waits == 0


def test_g_blend_looks_at_all_heads_once_before_its_probes(shards, tmp_path):
    # An epoch has 18 samples, val 9, and both are seen before and behind. The heads of audio and of
    # all run the encoder of audio; each of three trials ends with an evaluation, as every epoch.
    with running(small(shards, modalities=BOTH, epochs=1), tmp_path, GBlend(interval=1)) as run:
        passes = Passes(run.model)
        for _ in run.epochs():
            run.method.estimate(run)
            estimated = dict(passes.forward)
            run.train_epoch(run.method)

    assert estimated == dict.fromkeys(BOTH, (18 + 9) + 2 * (18 + 18 + 9) + 3 * 9)


def test_waits_are_for_values_of_the_model_and_for_masks():
    weight = torch.ones(3, requires_grad=True)
    with counting_waits() as waits:
        total = (weight * 2).sum()
        total.backward()
        torch.where(weight > 0, weight, 0)
        torch.randperm(3, generator=torch.Generator()).tolist()
        float(torch.arange(3).sum())
        weight[torch.tensor([0, 1])]
        assert waits.count == 0

        total.item()
        weight[weight > 0]
        if (total > 1).all():
            weight.detach().cpu().numpy()
        assert waits.count == 4

        torch.tensor([1.0, 2.0], device="cpu")
        torch.rand(2).to(torch.device("cpu"))
        torch.rand(2).to(torch.device("cpu"), non_blocking=True)
        torch.rand(2).to(torch.float64)
        assert waits.count == 6


def test_passes_are_counted_by_sample_and_where_gradients_arrive(shards, tmp_path):
    with running(small(shards, modalities=BOTH), tmp_path) as run:
        passes, batch = Passes(run.model), first(run)
        out = run.model(batch)
        run.model.feature("audio", batch.rows(0, 1))
        run.gradients(out.features["audio"].sum(), run.model)
        torch.autograd.grad(out.fused.sum(), [*out.features.values()])

    assert passes.forward == {"audio": BATCH + 1, "visual": BATCH}
    assert passes.backward == {"audio": BATCH, "visual": 0}
