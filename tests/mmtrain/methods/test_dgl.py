import pytest
import torch
from torch.nn import functional as F

from mmtrain.errors import ConfigError
from mmtrain.methods.dgl import DGL, unimodal_logits
from mmtrain.models.fusions.concat import Concat
from mmtrain.tasks.classification import Classification
from mmtrain.types import Outputs
from tests.support.enginework import lines, running, small
from tests.support.methodwork import fitted

THREE = ("audio", "visual", "flow")
EACH = pytest.mark.parametrize("modalities", [THREE[:2], THREE], ids=["two", "three"])


def test_gradients_by_hand():
    # f = (1, 2.5, -3), p = (.181818, .814852, .003330): W^a has the gradient (p - y) phi^a. Alone,
    # u^a = (1, 2, -3) and u^v = (0, .5, 0); phi^m has 4 W^m (p^m - y), where joint has W^m (p - y).
    fusion = Concat({"audio": 2, "visual": 2}, 3)
    with torch.no_grad():
        fusion.head.weight.copy_(torch.tensor([[1, 0, 0.5, 0], [0, 1, 0, 0.5], [-1, -1, 0, 0]]))
    audio = torch.tensor([[1.0, 2.0]], requires_grad=True)
    visual = torch.tensor([[0.0, 1.0]], requires_grad=True)
    features = {"audio": audio, "visual": visual}
    stopped = {m: x.detach() for m, x in features.items()}
    out = Outputs(
        fused=fusion(stopped), logits=unimodal_logits(fusion, features), features=features
    )

    loss = DGL(unimodal=4.0).sample_losses(Classification(3), out, torch.tensor([1]))
    loss.sum().backward()

    assert audio.grad[0].tolist() == pytest.approx([1.050886, -1.109706], abs=1e-5)
    assert visual.grad[0].tolist() == pytest.approx([0.548137, -1.096274], abs=1e-5)
    head = fusion.head.weight.grad[:, :2]
    for row, expected in zip(
        head.tolist(),
        [[0.181818, 0.363636], [-0.185148, -0.370296], [0.003330, 0.006660]],
        strict=True,
    ):
        assert row == pytest.approx(expected, abs=1e-5)

    joint = F.cross_entropy(fusion(features), torch.tensor([1]))
    both = torch.autograd.grad(joint, [audio, visual])
    assert both[0][0].tolist() == pytest.approx([0.178488, -0.188478], abs=1e-5)
    assert both[1][0].tolist() == pytest.approx([0.090909, -0.092574], abs=1e-5)


@EACH
def test_each_part_learns_from_its_loss_only(shards, tmp_path, modalities):
    with running(small(shards, modalities=modalities), tmp_path, DGL(unimodal=3.0)) as run:
        batch = next(run.batches("train"))
        out = run.method.predict(run.model.train(), batch)
        loss = run.method.loss(run, out, batch)
        plain = run.model(batch)
        fused = F.cross_entropy(plain.fused, batch.target)

        pairs = [(run.model.fusion, fused)]
        bias = run.model.fusion.head.bias.detach() * (1 - 1 / len(modalities))
        for m in modalities:
            own = F.cross_entropy(plain.logits[m] + bias, batch.target)
            pairs.append((run.model.encoders[m], 3 * own))
        for part, own in pairs:
            for found, expected in zip(
                run.gradients(loss, part), run.gradients(own, part), strict=True
            ):
                torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-4)
        torch.testing.assert_close(out.fused, plain.fused)


@pytest.mark.parametrize("fusion", ["film", "sum", "gated", "mmtm"])
def test_any_fusion_will_do(shards, tmp_path, fusion):
    found = fitted(shards, tmp_path, DGL(), fusion=fusion)

    assert all(value.isfinite().all() for value in found.values())
    assert {*lines(tmp_path)[0]["logged"]} == {"loss.audio", "loss.visual"}


def test_a_weight_of_zero_is_refused():
    with pytest.raises(ConfigError, match="unimodal is above 0; got 0"):
        DGL(unimodal=0)
