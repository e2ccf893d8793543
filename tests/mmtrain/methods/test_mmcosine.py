import math

import pytest
import torch

from mmtrain.errors import ConfigError
from mmtrain.methods.mmcosine import MMCosine
from mmtrain.models.fusions.cosine import Cosine
from tests.support.enginework import running, small
from tests.support.methodwork import fitted

THREE = ("audio", "visual", "flow")


def by_hand():
    fusion = Cosine({"audio": 2, "visual": 2}, 2, scale=10.0)
    with torch.no_grad():
        fusion.weights["audio"].copy_(torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
        fusion.weights["visual"].copy_(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
    return fusion, {"audio": torch.tensor([[3.0, 4.0]]), "visual": torch.tensor([[1.0, 0.0]])}


def test_logits_by_hand():
    # (3, 4) has the cosines .6 and .8 with (1, 0) and (0, 2); (1, 0) has 0 and 1 with (0, 1) and
    # (1, 0). Times 10: (6, 8) and (0, 10), which sum to (6, 18).
    fusion, features = by_hand()

    shares = fusion.split(features)
    assert shares["audio"][0].tolist() == pytest.approx([6, 8])
    assert shares["visual"][0].tolist() == pytest.approx([0, 10])
    assert fusion(features)[0].tolist() == pytest.approx([6, 18])


@pytest.mark.parametrize("factor", [1e-30, 0.5, 1e30])
def test_lengths_of_features_and_weights_do_not_matter(factor):
    fusion, features = by_hand()

    longer = {"audio": features["audio"] * factor, "visual": features["visual"]}
    torch.testing.assert_close(fusion(longer), fusion(features))
    with torch.no_grad():
        fusion.weights["visual"].mul_(factor)
    torch.testing.assert_close(fusion(features), torch.tensor([[6.0, 18.0]]))


def test_a_feature_of_zeros_is_neutral_and_has_finite_gradients():
    fusion, features = by_hand()
    features["visual"] = torch.zeros(1, 2)

    fused = fusion(features)
    fused[0, 1].backward()

    assert fused[0].tolist() == pytest.approx([6, 8])
    assert all(weight.grad.isfinite().all() for weight in fusion.weights.values())


def test_the_loss_has_a_floor():
    # M = 2, s = 10 and 309 classes: true logit 20, all others -20, a margin of 40.
    logits = torch.full((1, 309), -20.0, dtype=torch.float64)
    logits[0, 0] = 20.0

    loss = torch.nn.functional.cross_entropy(logits, torch.tensor([0]))
    assert loss.item() == pytest.approx(math.log1p(308 * math.exp(-40)), rel=1e-2)


@pytest.mark.parametrize("modalities", [THREE[:2], THREE], ids=["two", "three"])
def test_training_and_prediction_take_the_cosines(shards, tmp_path, modalities):
    method = MMCosine(scale=5.0)
    with running(small(shards, modalities=modalities, fusion="attention"), tmp_path, method) as run:
        batch = next(run.batches("val"))
        out = method.predict(run.model.eval(), batch)

        weights = run.model.fusion.weights
        for m in modalities:
            cosine = torch.cosine_similarity(out.features[m][:, None], weights[m][None], dim=-1)
            torch.testing.assert_close(out.logits[m], 5 * cosine, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(out.fused, sum(out.logits.values()))


def test_the_order_of_the_modalities_does_not_matter():
    fusion, features = by_hand()
    other = Cosine({"visual": 2, "audio": 2}, 2, scale=10.0)
    other.load_state_dict(fusion.state_dict())

    torch.testing.assert_close(other(features), fusion(features))


def test_it_learns_nothing_but_directions(shards, tmp_path):
    found = fitted(shards, tmp_path, MMCosine())

    names = [name for name in found if name.startswith("fusion")]
    assert names == ["fusion.weights.audio", "fusion.weights.visual"]


def test_a_scale_of_zero_is_refused():
    with pytest.raises(ConfigError, match="scale is above 0; got 0"):
        MMCosine(scale=0)
