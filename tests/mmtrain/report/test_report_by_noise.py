"""Accuracy by the noise of the clips on the report's page, and scores beside it."""

import hashlib

import numpy as np
import pytest

from mmtrain.data import SampleOrder, open_dataset
from mmtrain.report import write
from mmtrain.training import scores
from tests.support.noisy_shards import make_noisy_shards
from tests.support.reportwork import Page, make_run

COUNT = 72  # six bins of twelve
NOISES = [f"{1 + (i * 31) % COUNT}" for i in range(COUNT)]  # 1 to 72, mixed


def page_of(folder, *runs):
    write(runs, folder / "report.html")
    return Page((folder / "report.html").read_text(encoding="utf-8")).text


def scored(folder, right, data, **config):
    """A run whose samples were ``right`` or not, as a comparison keeps them."""
    run = make_run(folder, data=data, modalities=("audio",), **config)
    (run / "best.pt").write_bytes(b"weights")
    np.savez(
        run / "samples-test.npz",
        weights=hashlib.sha256(b"weights").hexdigest(),
        ids=np.arange(len(right)),
        scores=np.asarray(right, float),
        calibration=0.1,
        classes=np.array([], str),
        labels=np.zeros(0, np.int64),
    )
    return run


def test_accuracy_falls_with_noise_as_the_samples_do(tmp_path):
    data = make_noisy_shards(tmp_path / "data", NOISES)
    noise = np.array(NOISES, float)
    quiet = scored(tmp_path / "quiet", noise <= 18, data)
    all_right = scored(tmp_path / "all", noise > 0, data, method="ogm")

    text = page_of(tmp_path, quiet, all_right)

    assert "accuracy by noise (%)" in text
    assert "Classes Noise Encoders" in text
    # The bin 13 to 24 has six of twelve below or at 18.
    for line in ("1 to 12 12 100.0 100.0", "13 to 24 12 50.0 100.0", "61 to 72 12 0.0 100.0"):
        assert line in text


def test_seeds_are_averaged(tmp_path):
    data = make_noisy_shards(tmp_path / "data", NOISES)
    noise = np.array(NOISES, float)
    runs = [
        scored(tmp_path / f"s{seed}", noise <= most, data, seed=seed)
        for seed, most in enumerate((12, 24))
    ]

    assert "13 to 24 12 50.0" in page_of(tmp_path, *runs)


@pytest.mark.parametrize(
    "noises",
    [
        pytest.param([None] * COUNT, id="no noise"),
        pytest.param([*NOISES[:-1], None], id="a sample without"),
        pytest.param(["3"] * COUNT, id="all alike"),
        pytest.param(NOISES[:30], id="too few samples"),
    ],
)
def test_it_is_left_out_where_noise_tells_nothing(tmp_path, noises):
    data = make_noisy_shards(tmp_path / "data", noises)
    run = scored(tmp_path / "run", np.ones(len(noises)), data)

    assert "By noise" not in page_of(tmp_path, run)


def test_it_is_left_out_where_the_samples_were_not_scored(tmp_path):
    data = make_noisy_shards(tmp_path / "data", NOISES)
    never = make_run(tmp_path / "never", data=data, modalities=("audio",))
    stale = scored(tmp_path / "stale", np.ones(COUNT), data, seed=1)
    (stale / "best.pt").write_bytes(b"other weights")

    text = page_of(tmp_path, never, stale)
    assert "By noise" not in text
    assert "Classes Encoders" in text


def test_it_is_left_out_where_the_shards_have_moved(tmp_path):
    run = scored(tmp_path / "run", np.ones(COUNT), tmp_path / "moved")

    assert "By noise" not in page_of(tmp_path, run)


def test_scores_of_a_curriculum_are_correlated_with_the_noise(tmp_path):
    data = make_noisy_shards(tmp_path / "data", NOISES)
    run = make_run(tmp_path / "run", data=data, modalities=("audio",))
    noise = np.array(NOISES, np.float32)
    with open_dataset(data) as dataset:
        ids = np.arange(COUNT)
        for epoch, sign in enumerate((-1, 1)):
            row = {"score": sign * noise, "measured": np.full(COUNT, epoch, np.int16)}
            scores.write(run, epoch, dataset, ids, row, SampleOrder(ids))

    text = page_of(tmp_path, run)

    assert "rank correlation of the scores of each epoch with the noise of the clips" in text
    assert "epoch 1 score: -1 epoch 2 score: 1" in text
