"""Another run's trained model, to learn from."""

import pytest
import torch

from mmtrain.errors import ConfigError, DataError
from mmtrain.evaluation.open_run import open_run
from mmtrain.methods.base import Teacher
from mmtrain.training.train import train
from tests.support.enginework import running, small


@pytest.fixture(scope="module")
def finished(shards, tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher") / "run"
    train(small(shards, epochs=1, method="multitask", modalities=("audio",)), folder)
    return folder


def test_a_teacher_predicts_as_its_finished_run_and_stays_as_it_is(shards, tmp_path, finished):
    with open_run(finished) as other:
        other.model.eval()
        with torch.no_grad():
            expected = other.method.predict(other.model, next(other.batches("val"))).fused

    with running(small(shards, epochs=1), tmp_path) as run:
        teacher = run.teacher(finished, "audio")
        run.model.train()
        out = teacher(next(run.batches("val")))
        run.method.fit(run)
        after = teacher(next(run.batches("val")))

    assert torch.equal(out.fused, expected)
    assert torch.equal(after.fused, expected)
    assert not out.fused.requires_grad
    assert not teacher.model.training
    assert not any(p.requires_grad for p in teacher.model.parameters())
    assert teacher.classes == run.classes
    typed: Teacher = teacher
    assert typed.model is teacher.model


def test_a_teacher_changes_nothing_of_the_run(shards, tmp_path, finished):
    with running(small(shards, epochs=1), tmp_path) as run:
        before, state = run.generator.get_state(), torch.get_rng_state()
        written = {path: path.read_bytes() for path in finished.iterdir() if path.is_file()}
        names = [*run.model.state_dict()]

        run.teacher(str(finished))

        assert torch.equal(run.generator.get_state(), before)
        assert torch.equal(torch.get_rng_state(), state)
        assert [*run.model.state_dict()] == names
        assert written == {path: path.read_bytes() for path in written}


def test_a_folder_that_cannot_teach_is_refused(shards, lopsided, tmp_path, finished):
    with running(small(shards), tmp_path / "unfinished"):
        pass
    with running(small(shards), tmp_path / "run") as run:
        with pytest.raises(ConfigError, match="holds no run"):
            run.teacher(tmp_path)
        with pytest.raises(ConfigError, match="is no finished run"):
            run.teacher(tmp_path / "unfinished")
        with pytest.raises(ConfigError, match="has no visual; it was trained on audio"):
            run.teacher(finished, "visual")
    with (
        running(small(shards, modalities=("visual",)), tmp_path / "visual") as run,
        pytest.raises(ConfigError, match="needs audio, which this run does not read"),
    ):
        run.teacher(finished)
    with (
        running(small(lopsided, batch_size=2), tmp_path / "other") as run,
        pytest.raises(DataError, match="trained on other data"),
    ):
        run.teacher(finished)
