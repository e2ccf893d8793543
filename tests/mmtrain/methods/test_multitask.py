import pytest
import torch

from mmtrain.errors import UnknownName
from mmtrain.methods.multitask import Multitask
from tests.support.enginework import running, small
from tests.support.methodwork import trained_losses

THREE = ("audio", "visual", "flow")


@pytest.mark.parametrize("modalities", [THREE[:2], THREE], ids=["two", "three"])
def test_prediction_is_the_fused_or_the_heads_or_both(shards, tmp_path, modalities):
    with running(small(shards, modalities=modalities), tmp_path, Multitask()) as run:
        batch = next(run.batches("val"))
        run.model.eval()
        plain = run.model(batch)
        heads = sum(plain.logits.values())

        for inference, fused in (
            ("fused", plain.fused),
            ("sum", plain.fused + heads),
            ("heads", heads),
        ):
            run.method.inference = inference
            out = run.method.predict(run.model, batch)
            torch.testing.assert_close(out.fused, fused)
            assert all(torch.equal(out.logits[m], plain.logits[m]) for m in modalities)


def test_the_prediction_changes_no_loss_by_which_curricula_score(shards, tmp_path):
    with running(small(shards), tmp_path, Multitask(fused=0.1, unimodal=0.9)) as run:
        before = trained_losses(run)
        run.method.inference = "heads"
        assert (trained_losses(run) == before).all()


def test_an_unknown_inference_offers_the_nearest():
    with pytest.raises(UnknownName, match="did you mean heads"):
        Multitask(inference="head")
