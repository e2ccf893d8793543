from itertools import pairwise

import numpy as np
import pytest

from mmtrain.errors import ConfigError, UnknownName
from mmtrain.evaluation.missing import Missing, parse_rates

THREE = ("audio", "visual", "flow")


def masks(*rates, draws=2, seed=0, modalities=THREE, samples=2000):
    return Missing(rates=rates, draws=draws, seed=seed).masks(modalities, samples)


def test_who_misses_at_a_rate_misses_at_every_larger_one():
    settings = masks(*({"visual": p / 10} for p in range(11)))

    for draw in range(2):
        shown = [setting[draw]["visual"] for setting in settings]
        assert shown[0].all()
        assert not shown[-1].any()
        for less, more in pairwise(shown):
            assert not (more & ~less).any()
            assert more.sum() < less.sum()


def test_the_share_that_misses_is_the_rate():
    ((mask, again),) = masks({"audio": 0.3, "flow": 0.1})

    # Standard deviations of the shares are 0.010 and 0.007.
    assert np.mean(~mask["audio"]) == pytest.approx(0.3, abs=0.04)
    assert np.mean(~mask["flow"]) == pytest.approx(0.1, abs=0.03)
    assert "visual" not in mask
    # Modalities are lost independently, and every draw is another.
    both = np.mean(~mask["audio"] & ~mask["flow"])
    assert both == pytest.approx(0.03, abs=0.015)
    assert (mask["audio"] != again["audio"]).any()


def test_a_modality_is_lost_by_the_same_samples_whatever_else_is():
    (alone,), (together,) = masks({"audio": 0.3}, {"audio": 0.3, "flow": 0.5}, draws=1)
    assert np.array_equal(alone["audio"], together["audio"])


@pytest.mark.parametrize(
    "others",
    [("visual",), ("visual", "audio"), ("flow", "visual", "audio"), ("audio", "visual", "flow")],
    ids=", ".join,
)
def test_runs_of_other_modalities_lose_a_modality_in_the_same_samples(others):
    ((alone,),) = masks({"visual": 0.4}, draws=1, modalities=("audio", "visual"))
    ((mask,),) = masks({"visual": 0.4}, draws=1, modalities=others)
    assert np.array_equal(mask["visual"], alone["visual"])


def test_two_modalities_are_lost_independently():
    ((mask,),) = masks({"audio": 0.5, "visual": 0.5}, draws=1)
    # Correlation of independent draws has a standard deviation of 0.022.
    assert abs(np.corrcoef(mask["audio"], mask["visual"])[0, 1]) < 0.1


def test_draws_depend_on_the_seed_alone():
    first, same, other = (masks({"audio": 0.5}, seed=seed)[0][0]["audio"] for seed in (1, 1, 2))
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


def test_rates_from_texts():
    assert parse_rates(["audio=0.3", " audio = 0.1, visual=1"]) == (
        {"audio": 0.3},
        {"audio": 0.1, "visual": 1.0},
    )


def test_a_modality_without_a_share_is_missing_everywhere():
    assert parse_rates(["audio", "audio,visual=0.2"]) == (
        {"audio": 1.0},
        {"audio": 1.0, "visual": 0.2},
    )


def test_modalities_may_be_named_in_other_words():
    assert parse_rates(["Video=0.5,sound=0.1"]) == ({"visual": 0.5, "audio": 0.1},)


@pytest.mark.parametrize("text", ["audio=", "=", "=0.3", "audio=much", "audio=0.1,", ""])
def test_texts_that_are_no_rates(text):
    with pytest.raises(ConfigError, match="MODALITY=SHARE"):
        parse_rates([text])


def test_wrong_rates():
    with pytest.raises(ConfigError, match="twice"):
        parse_rates(["audio=0.1,audio=0.2"])
    for rate in (-0.1, 1.1, float("nan")):
        with pytest.raises(ConfigError, match=r"in \[0, 1\]"):
            Missing(rates=({"audio": rate},))
    with pytest.raises(ConfigError, match="draws"):
        Missing(draws=0)
    with pytest.raises(UnknownName, match="did you mean audio"):
        masks({"audoi": 0.1})
