import pytest
import torch

from mmtrain.errors import ConfigError
from mmtrain.methods.base import Method
from mmtrain.methods.umt import UMT
from mmtrain.training.train import train
from tests.support.enginework import lines, running, small
from tests.support.methodwork import fitted


@pytest.fixture
def teachers(teacher_of):
    return teacher_of("visual"), teacher_of("audio")


def test_the_loss_is_joint_and_the_weighted_distance_to_teachers_in_any_order(
    shards, tmp_path, teachers
):
    with running(small(shards), tmp_path, UMT(teachers=teachers, weight=3.0)) as run:
        batch = next(run.batches("train"))
        out = run.model(batch)
        expected = Method().loss(run, out, batch)
        for modality, folder in zip(("visual", "audio"), teachers, strict=True):
            taught = run.teacher(folder)(batch).features[modality]
            expected = expected + 3 * (out.features[modality] - taught).square().mean()

        assert torch.allclose(run.method.loss(run, out, batch), expected)


def test_training_comes_near_the_teachers_features_and_logs_how_near(shards, tmp_path, teachers):
    fitted(shards, tmp_path / "near", UMT(teachers=teachers, weight=100.0), epochs=3)
    fitted(shards, tmp_path / "far", UMT(teachers=teachers, weight=0.0), epochs=3)

    near, far = (lines(tmp_path / name)[-1]["logged"]["distance"] for name in ("near", "far"))
    assert near < far


def test_without_weight_it_is_joint_training(shards, tmp_path, teachers):
    found = fitted(shards, tmp_path / "a", UMT(teachers=teachers, weight=0.0))
    joint = fitted(shards, tmp_path / "b", Method())

    assert all(torch.equal(found[name], joint[name]) for name in joint)


def test_no_teacher_is_in_the_model_or_its_checkpoint(shards, tmp_path, teachers):
    assert {*fitted(shards, tmp_path / "a", UMT(teachers=teachers))} == {
        *fitted(shards, tmp_path / "b", Method())
    }


def test_teachers_that_do_not_fit_are_refused(shards, tmp_path, teacher_of):
    audio, visual, both = teacher_of("audio"), teacher_of("visual"), teacher_of("audio", "visual")
    wide = str(tmp_path / "wide")
    config = small(shards, epochs=1, modalities=("visual",))
    train(config.changed({"encoder.width": 128}), tmp_path / "wide")
    for number, (teachers, message) in enumerate(
        (
            ((), "no teacher of audio, visual; set method.teachers=RUN,RUN"),
            ((audio,), "no teacher of visual; set method.teachers=RUN,RUN"),
            ((audio, visual, audio), "are both teachers of audio; name one"),
            ((both,), "was trained on audio, visual; a teacher is of one modality"),
            ((audio, wide), "the teacher of visual has 128 features, the model 64"),
        )
    ):
        with (
            pytest.raises(ConfigError, match=message),
            running(small(shards), tmp_path / str(number), UMT(teachers=teachers)),
        ):
            pass
    with pytest.raises(ConfigError, match="weight is at least 0; got -1"):
        UMT(weight=-1)
