import json
import math

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from mmtrain.cli.main import main
from mmtrain.errors import ConfigError, UnknownName
from mmtrain.evaluation.evaluate import evaluate, predictions
from mmtrain.evaluation.missing import Missing
from mmtrain.evaluation.noise import Draw, Noise, deviations, parse_levels
from mmtrain.evaluation.open_run import open_run
from mmtrain.modalities import PICTURES, SEQUENCE
from tests.support.evalwork import THREE


def run(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def draw(*ids, **changes):
    return Draw(**{"seed": 0, "number": 0, "ids": ids, **changes})


def test_noise_by_hand():
    # Entries 1 and 5 of one sample deviate by 2 from their mean, the constant sample by nothing.
    pictures = torch.tensor([[1.0, 5.0], [3.0, 3.0]]).view(2, 1, 1, 1, 2)
    z = np.random.default_rng([7, 2, 4, *b"visual"]).standard_normal((1, 1, 1, 2), np.float32)

    noisy = draw(4, 9, seed=7, number=2).on("visual", pictures, 0.5)

    assert torch.equal(noisy[0], pictures[0] + torch.from_numpy(z))
    assert torch.equal(noisy[1], pictures[1])


def test_the_noise_of_a_sample_is_its_own_in_any_batch_and_at_any_level():
    values = torch.randn(3, 1, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    together = draw(0, 1, 2).on("flow", values, 0.2)
    alone = draw(1).on("flow", values[1:2], 0.6)

    added = together[1] - values[1]
    assert torch.allclose(3 * added, alone[0] - values[1], atol=1e-5)
    for other in (draw(1, seed=1), draw(1, number=1)):
        assert not torch.allclose(other.on("flow", values[1:2], 0.2)[0], together[1])
    assert not torch.allclose(draw(1).on("depth", values[1:2], 0.2)[0], together[1])


def test_the_level_is_the_deviation_of_the_noise_over_that_of_the_input():
    values = 40 + 3 * torch.randn(1, 1, 1, 100, 100, generator=torch.Generator().manual_seed(0))
    added = draw(0).on("audio", values, 0.3) - values
    assert added.std() / values.std() == pytest.approx(0.3, rel=0.03)
    assert deviations(values, PICTURES).flatten().tolist() == [
        pytest.approx(values.std(correction=0).item())
    ]


def test_of_a_sequence_each_channel_has_its_own_scale_and_padding_stays():
    # Two steps of 3 and 5, of 30 and 10, then padding; the other sample has a single step.
    steps = torch.tensor([[[3.0, 30, 1], [5, 10, 1], [0, 0, 0]], [[2, 6, 1], [0, 0, 0], [0, 0, 0]]])

    assert deviations(steps, SEQUENCE).tolist() == [
        [[1, 10, 0], [1, 10, 0], [0, 0, 0]],
        [[2, 2, 0], [0, 0, 0], [0, 0, 0]],
    ]
    noisy = draw(0, 1).on("speech", steps, 1.0)
    assert torch.equal(noisy[..., 2], steps[..., 2])
    assert torch.equal(noisy[0, 2], steps[0, 2])
    assert (noisy[1, 0, :2] != steps[1, 0, :2]).all()


def test_of_a_text_a_share_of_the_tokens_is_replaced():
    tokens = torch.full((2, 1000), 5)
    tokens[:, 800:] = 0
    few, more = (draw(0, 1, vocabulary=50).on("text", tokens, p) for p in (0.2, 0.6))

    assert torch.equal(few[:, 800:], tokens[:, 800:])
    assert ((few != tokens).sum() / 1600).item() == pytest.approx(0.2, abs=0.05)
    changed = few != tokens
    assert torch.equal(more[changed], few[changed])
    assert int(more[:, :800].min()) >= 1
    assert int(more.max()) < 50


def test_no_noise_is_the_plain_prediction(made):
    noise = Noise(levels=({"audio": 0.0}, {"audio": 0.5, "visual": 0.5}), draws=2)

    found = evaluate(made("audio", "visual"), noise=noise)

    none, some = found["noise"]
    assert none["accuracy"] == {"mean": found["accuracy"], "std": 0}
    assert none["map"] == {"mean": pytest.approx(found["map"]), "std": 0}
    assert (some["levels"], some["draws"], some["seed"]) == ({"audio": 0.5, "visual": 0.5}, 2, 0)
    with open_run(made("audio", "visual")) as finished:
        _, fused, _, _, noisy = predictions(finished, "test", noise=noise)
        # Nothing is left behind on the model.
        again = predictions(finished, "test").fused
    assert [torch.equal(logits, fused) for logits in noisy] == [True, True, False, False]
    assert not torch.allclose(noisy[2], noisy[3])
    assert torch.equal(again, fused)


def inputs_of(folder, modality):
    """Inputs of the encoder of a modality on test: plain, then with noise."""
    seen = []
    with open_run(folder) as finished:
        encoder = finished.model.encoders[modality]
        encoder.register_forward_pre_hook(lambda _, given: seen.append(given[0].clone()))
        predictions(finished, "test", noise=Noise(levels=({modality: 0.4},), draws=1))
    return torch.cat(seen[::2]), torch.cat(seen[1::2])


def test_runs_of_other_modalities_meet_the_same_noise(made):
    plain, noisy = inputs_of(made("flow"), "flow")
    both = inputs_of(made(*THREE), "flow")
    assert not torch.equal(plain, noisy)
    assert torch.equal(plain, both[0])
    assert torch.equal(noisy, both[1])


def test_levels_from_texts():
    assert parse_levels(["audio=0:1:0.25,video=2"]) == tuple(
        {"audio": level, "visual": 2.0} for level in (0.0, 0.25, 0.5, 0.75, 1.0)
    )
    # Ends that rounding would miss, a range that its step does not divide, and what is there twice.
    assert [s["audio"] for s in parse_levels(["audio=0.1:0.3:0.1", "audio=0.2"])] == [0.1, 0.2, 0.3]
    assert [s["audio"] for s in parse_levels(["audio=0:1:0.4"])] == [0.0, 0.4, 0.8]
    assert len(parse_levels(["audio=0:1:0.5,visual=0:1:0.25"])) == 15
    for text in ("audio", "audio=1:0:0.1", "audio=0:1", "audio=0:1:0", "audio=0:inf:1", "=1"):
        with pytest.raises(ConfigError, match="MODALITY=LEVEL"):
            parse_levels([text])


def test_wrong_requests(made):
    for level in (-0.1, math.inf, math.nan):
        with pytest.raises(ConfigError, match="a number from 0 on"):
            Noise(levels=({"audio": level},))
    with pytest.raises(ConfigError, match="share of its tokens"):
        Noise(levels=({"text": 1.5},)).require(["text"])
    with pytest.raises(UnknownName, match="no modality of this run 'flow'"):
        evaluate(made("audio", "visual"), noise=Noise(levels=({"flow": 0.1},)))


def test_what_was_measured_is_kept_and_not_measured_again(made, monkeypatch):
    folder = made("audio", "visual")
    rates = Missing(rates=({"audio": 0.5},), draws=2)
    first = evaluate(folder, split="val", missing=rates)
    levels = Noise(levels=({"audio": 0.5},), draws=2)

    second = evaluate(folder, split="val", missing=rates, noise=levels, reuse=True)
    written = (folder / "eval-val.json").stat().st_mtime_ns
    third = evaluate(folder, split="val", noise=levels, reuse=True)

    assert second["missing"] == third["missing"] == first["missing"]
    assert second == third == json.loads((folder / "eval-val.json").read_text())
    assert (folder / "eval-val.json").stat().st_mtime_ns == written
    # Other weights make the file worthless.
    stale = {**third, "weights": "of another run", "accuracy": -1}
    (folder / "eval-val.json").write_text(json.dumps(stale))
    assert evaluate(folder, split="val", reuse=True)["accuracy"] == first["accuracy"]


def test_several_runs_and_a_folder(made):
    one, other = made("audio", "visual"), made("flow")

    done = run("eval", one, other, "--noise", "flow=0.5", "--draws", 1, "--json")

    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert [report["run"] for report in found["runs"]] == [str(one), str(other)]
    assert found["failed"] == []
    # Each run has the settings of its own modalities.
    levels = [[s["levels"] for s in r["noise"] if s["draws"] == 1] for r in found["runs"]]
    assert levels == [[], [{"flow": 0.5}]]
    done = run("eval", one.parent, "--draws", 1)
    assert done.exit_code == 0, done.output
    assert {one.name, other.name} <= {line.split()[0] for line in done.stdout.splitlines() if line}
    assert run("eval", one, other, "--noise", "text=0.5").exit_code == 2
    assert run("eval", one / "ledger").exit_code == 2
