import math

import pytest
import torch

from mmtrain.errors import UnknownName
from mmtrain.evaluation.open_run import open_run
from mmtrain.methods.ume import UME, averaged
from mmtrain.training.train import train
from tests.support.enginework import running, small
from tests.support.methodwork import fitted

THREE = ("audio", "visual", "flow")


def test_averaged_by_hand():
    # Probabilities (3/4, 1/4) and (1/2, 1/2): mean (5/8, 3/8). Logits: (ln 3 / 2, 0).
    logits = {"audio": torch.tensor([[math.log(3.0), 0.0]]), "visual": torch.zeros(1, 2)}

    assert averaged(logits, "probs").exp()[0].tolist() == pytest.approx([5 / 8, 3 / 8])
    assert averaged(logits, "logits")[0].tolist() == pytest.approx([math.log(3.0) / 2, 0])


def test_averaged_probabilities_sum_to_1_at_any_scale_and_are_those_of_equal_modalities():
    one, other = torch.tensor([[1e4, -1e4, 0.0]]), torch.tensor([[-1e4, 1e4, 0.0]])

    assert averaged({"a": one, "b": other}, "probs").exp().sum().item() == pytest.approx(1)
    assert torch.equal(
        averaged({"a": one, "b": other}, "probs"), averaged({"b": other, "a": one}, "probs")
    )
    same = averaged({"a": one, "b": one, "c": one}, "probs").softmax(-1)
    torch.testing.assert_close(same, one.softmax(-1))


@pytest.mark.parametrize("modalities", [THREE[:2], THREE], ids=["two", "three"])
def test_a_modality_learns_as_it_would_without_the_others(shards, tmp_path, modalities):
    together = fitted(shards, tmp_path / "all", UME(), modalities=modalities)
    for modality in modalities:
        alone = fitted(shards, tmp_path / modality, UME(), modalities=(modality,))
        for name, value in alone.items():
            torch.testing.assert_close(together[name], value, rtol=0, atol=0)


def test_it_predicts_the_average_and_trains_the_sum(shards, tmp_path):
    with running(small(shards), tmp_path, UME(average="logits")) as run:
        batch = next(run.batches("val"))
        out = run.method.predict(run.model, batch)
        torch.testing.assert_close(out.fused, sum(out.logits.values()) / 2)
        own = [run.task.losses(z, batch.target) for z in out.logits.values()]
        trained = run.method.predict_trained(run.model, batch)
        assert torch.equal(
            run.method.sample_losses(run.task, trained, batch.target), torch.stack(own).sum(0)
        )


def test_with_teachers_it_predicts_their_average_and_trains_nothing(shards, tmp_path, teacher_of):
    folders = teacher_of("audio"), teacher_of("visual")
    config = small(shards, epochs=1, method="ume", curriculum="bss-l")
    changes = {"encoder.width": 128, "method.teachers": folders}
    train(config.changed(changes), tmp_path / "run")

    with open_run(tmp_path / "run") as run:
        assert not any(p.requires_grad for p in run.model.parameters())
        run.model.eval()
        batch = next(run.batches("val"))
        with torch.no_grad():
            out = run.method.predict(run.model, batch)
        own = {t.model.modalities[0]: t(batch).fused for t in map(run.teacher, folders)}
    assert out.logits.keys() == own.keys()
    assert all(torch.equal(out.logits[m], own[m]) for m in own)
    assert torch.equal(out.fused, averaged(own, "probs"))


def test_an_unknown_average_offers_the_nearest():
    with pytest.raises(UnknownName, match="did you mean probs"):
        UME(average="prob")
