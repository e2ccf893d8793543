import pytest
import torch
from torch.nn import functional as F

from mmtrain.errors import ConfigError
from mmtrain.methods.cml import CML, overconfidence
from tests.support.enginework import lines, running, small
from tests.support.methodwork import fitted

THREE = ("audio", "visual", "flow")


def of(*values):
    return torch.tensor(values)


def test_overconfidence_by_hand():
    # Surer by .2 in the first sample, less sure by .2 in the second: .2 in all, where the hinge of
    # the sum, 1.1 - 1.1, would be 0.
    found = overconfidence(of(0.6, 0.5), of(0.8, 0.3), of(True, True))

    assert found.tolist() == pytest.approx([0.2, 0])
    assert overconfidence(of(0.6, 0.5), of(0.8, 0.3), of(False, True)).tolist() == [0, 0]


def test_gradients_flow_through_both():
    whole, less = of(0.6).requires_grad_(), of(0.8).requires_grad_()
    overconfidence(whole, less, of(True)).sum().backward()

    assert (whole.grad.item(), less.grad.item()) == (-1, 1)


def test_equals_cost_nothing():
    same = torch.rand(5)
    assert not overconfidence(same, same, torch.ones(5, dtype=torch.bool)).any()


@pytest.mark.parametrize("modalities", [THREE[:2], THREE], ids=["two", "three"])
def test_the_loss_of_a_chain(shards, tmp_path, modalities):
    with running(small(shards, modalities=modalities), tmp_path, CML(strength=2.0)) as run:
        batch = next(run.batches("train"))
        out = run.model(batch)
        state = run.generator.get_state()
        order = torch.randperm(len(modalities), generator=run.generator).tolist()
        run.generator.set_state(state)
        found = run.method.loss(run, out, batch)

        # With concatenation: the shares of what is left, and what is missing of the bias.
        bias = run.model.fusion.head.bias
        fitting, penalty, before = 0, 0, None
        for k in range(len(modalities), 0, -1):
            left = [out.logits[modalities[i]] for i in order[:k]]
            logits = sum(left) + bias * (1 - k / len(modalities))
            fitting += F.cross_entropy(logits, batch.target) / len(modalities)
            sure, chosen = logits.softmax(-1).max(-1)
            right = chosen == batch.target
            if before is not None:
                excluded = right & ~before[1]
                penalty += ((sure - before[0]).clamp(min=0) * ~excluded).mean()
            before = sure, right
        torch.testing.assert_close(found, fitting + 2 * penalty)


@pytest.mark.parametrize("fusion", ["film", "sum"])
def test_any_fusion_will_do(shards, tmp_path, fusion):
    fitted(shards, tmp_path, CML(), fusion=fusion, modalities=THREE)

    logged = lines(tmp_path)[0]["logged"]
    assert logged["penalty"] >= 0
    assert 0 <= logged["surer"] <= 1


def test_wrong_options_are_refused(shards, tmp_path):
    with pytest.raises(ConfigError, match="strength is at least 0; got -1"):
        CML(strength=-1)
    with (
        pytest.raises(ConfigError, match="audio is alone"),
        running(small(shards, modalities=("audio",)), tmp_path, CML()),
    ):
        pass
