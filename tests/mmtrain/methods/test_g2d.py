import pytest
import torch

from mmtrain.config.run import OptimizerConfig
from mmtrain.errors import ConfigError
from mmtrain.functional.distillation import divergences
from mmtrain.methods.base import Method
from mmtrain.methods.g2d import G2D, prioritised
from tests.support.enginework import lines, running, small
from tests.support.methodwork import fitted

THREE = ("audio", "visual", "flow")


@pytest.fixture
def teachers(teacher_of):
    return teacher_of("audio"), teacher_of("visual"), teacher_of("flow")


def test_divergence_of_the_fused_logits_from_each_teacher_by_hand():
    # Fused (2.6, .2, -1.1): p = (.896512, .081330, .022158). Teacher t = (.691438, .154281,
    # .154281): sum t ln(t / p) = -.179567 + .098786 + .299321, and likewise the second.
    fused = torch.tensor([[2.6, 0.2, -1.1]] * 2, dtype=torch.float64)
    taught = torch.tensor([[0.691438, 0.154281, 0.154281], [0.367165, 0.332225, 0.300610]]).log()

    assert divergences(fused, taught).tolist() == pytest.approx([0.218540, 0.923559], abs=2e-5)
    assert divergences(taught, fused).tolist() == pytest.approx([0.137772, 0.628058], abs=2e-5)


def test_the_weakest_is_prioritised_and_so_are_those_that_tie():
    assert prioritised(torch.tensor([0.7, 0.3, 0.5])).tolist() == [0, 1, 0]
    assert prioritised(torch.tensor([0.3, 0.3, 0.5])).tolist() == [1, 1, 0]
    assert prioritised(torch.tensor([0.3])).tolist() == [1]


@pytest.mark.parametrize("modalities", [THREE[:2], THREE], ids=["two", "three"])
def test_in_the_first_half_only_the_encoder_of_the_weakest_teacher_moves(
    shards, tmp_path, teachers, modalities
):
    plain = OptimizerConfig(lr=0.1, momentum=0, weight_decay=0)
    config = small(shards, optimizer=plain, modalities=modalities, epochs=4)
    with running(config, tmp_path, G2D(teachers=teachers[: len(modalities)])) as run:
        batch = next(run.batches("train"))
        sure = {
            m: run.task.confidence(run.teacher(folder)(batch).fused, batch.target).mean().item()
            for m, folder in zip(modalities, teachers, strict=False)
        }
        weakest = min(sure, key=sure.get)
        for epoch, expected in ((1, {weakest}), (2, {*modalities})):
            run.epoch = epoch
            before = {m: [p.clone() for p in run.model.parameters_of(m)] for m in modalities}
            run.method.step(run, batch)
            moved = {
                m
                for m, old in before.items()
                if not all(map(torch.equal, old, run.model.parameters_of(m)))
            }
            assert moved == expected


def test_it_logs_what_it_learns_from(shards, tmp_path, teachers):
    fitted(shards, tmp_path, G2D(teachers=teachers[:2]), epochs=2)

    first, last = (line["logged"] for line in lines(tmp_path))
    assert first["k.audio"] + first["k.visual"] == pytest.approx(1)
    assert last["k.audio"] == last["k.visual"] == 1
    assert first["distance"] > last["distance"] > 0
    assert first["divergence"] > 0
    assert 0 < first["score.audio"] < 1


def test_without_weights_and_priority_it_is_joint_training(shards, tmp_path, teachers):
    method = G2D(teachers=teachers[:2], logits=0.0, features=0.0, share=0.0)
    found = fitted(shards, tmp_path / "a", method)
    joint = fitted(shards, tmp_path / "b", Method())

    assert all(torch.equal(found[name], joint[name]) for name in joint)


def test_wrong_options_and_a_lack_of_teachers_are_refused(shards, tmp_path):
    with pytest.raises(ConfigError, match=r"share is in \[0, 1\]; got 2"):
        G2D(share=2)
    with (
        pytest.raises(ConfigError, match="no teacher of audio, visual"),
        running(small(shards), tmp_path, G2D()),
    ):
        pass
