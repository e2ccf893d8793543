"""Scores by sample, worked by hand, and what becomes of the file that keeps them."""

import numpy as np
import pytest
import torch

from mmtrain.errors import ConfigError
from mmtrain.evaluation.sample_scores import sample_scores, shares_of
from mmtrain.metrics import calibration_error
from mmtrain.training.train import train
from tests.support.enginework import small


@pytest.fixture(scope="module")
def trained(shards, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scores") / "run"
    config = small(shards, epochs=1, modalities=("audio", "visual"))
    return folder, train(config, folder)


def test_shares_by_hand():
    # Over chance .333: a .267, v .067, both .367; a: (.267 + .367 - .067) / 2.
    values = {("a",): 0.6, ("v",): 0.4, ("a", "v"): 0.7}
    assert shares_of(values, 1 / 3) == pytest.approx({"a": 0.283333, "v": 0.083333}, abs=1e-6)


def test_calibration_by_hand():
    # Sure .9 twice, right once: gap |.5 - .9|; sure .6 once and right: |1 - .6|. Mean of three.
    rows = torch.tensor([[0.9, 0.1], [0.1, 0.9], [0.4, 0.6]])
    target = torch.tensor([0, 0, 1])
    assert calibration_error(rows, target) == pytest.approx((2 * 0.4 + 0.4) / 3)
    assert calibration_error(torch.eye(2), torch.tensor([0, 1])) == 0
    assert calibration_error(torch.eye(2), torch.tensor([1, 0])) == 1


def test_their_mean_is_the_accuracy_of_the_result(trained):
    folder, result = trained
    for split in ("val", "test"):
        found = sample_scores(folder, split)
        assert found.scores.mean() == pytest.approx(result[split]["accuracy"])
        assert len(found.ids) == len(found.scores) == len(found.labels)
        for m, scores in found.by_modality.items():
            assert scores.mean() == pytest.approx(result[split]["modalities"][m]["accuracy"])
        assert set(found.by_modality) == {"audio", "visual"}
        assert set(found.labels) == set(range(len(found.classes)))


def test_what_is_kept_is_read_and_what_is_damaged_made_anew(trained):
    folder, _ = trained
    first = sample_scores(folder, "test")
    path = folder / "samples-test.npz"
    written = path.stat().st_mtime_ns
    again = sample_scores(folder, "test", data="/nowhere")
    assert path.stat().st_mtime_ns == written
    np.testing.assert_array_equal(again.scores, first.scores)
    assert again.shares == first.shares
    assert again.classes == first.classes
    np.testing.assert_array_equal(again.labels, first.labels)
    np.testing.assert_array_equal(again.by_modality["audio"], first.by_modality["audio"])

    whole = path.read_bytes()
    for broken in (b"", whole[: len(whole) // 2], b"no archive"):
        path.write_bytes(broken)
        assert sample_scores(folder, "test").shares == first.shares
        assert path.read_bytes() == whole


def test_other_weights_are_measured_again(trained, shards, tmp_path):
    folder, _ = trained
    other = tmp_path / "other"
    train(small(shards, epochs=1, modalities=("audio", "visual"), seed=5), other)
    sample_scores(folder, "test")
    (other / "samples-test.npz").write_bytes((folder / "samples-test.npz").read_bytes())
    right = sample_scores(other, "test")
    (other / "samples-test.npz").unlink()
    np.testing.assert_array_equal(right.scores, sample_scores(other, "test").scores)


def test_a_folder_without_weights_is_refused(tmp_path):
    with pytest.raises(ConfigError):
        sample_scores(tmp_path, "test")
