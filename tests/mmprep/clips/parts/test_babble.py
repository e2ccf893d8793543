import numpy as np
import pytest

from mmprep.clips.parts.babble import level, mix


def noise(seed: int, samples: int = 1000, scale: float = 0.01) -> np.ndarray:
    return (scale * np.random.default_rng(seed).normal(size=samples)).astype(np.float32)


def decibels(ratio: float) -> float:
    return float(20 * np.log10(ratio))


@pytest.mark.parametrize("ratio_db", [-5.0, 0.0, 10.0])
@pytest.mark.parametrize("voices", [1, 3])
def test_the_babble_lies_below_the_own_sound_by_the_ratio(ratio_db: float, voices: int) -> None:
    own = noise(0)
    mixture = mix(own, [noise(1 + n, scale=0.1**n) for n in range(voices)], ratio_db)
    babble = mixture.wave - own
    assert decibels(level(own) / level(babble)) == pytest.approx(ratio_db, abs=1e-3)
    assert mixture.gain == 1
    assert mixture.wave.dtype == np.float32


def test_all_voices_are_equally_loud() -> None:
    # Tones of one and two periods have no part in each other.
    t = np.arange(1000) / 1000
    tones = [np.sin(2 * np.pi * n * t).astype(np.float32) for n in (1, 2)]
    own = noise(0)
    babble = mix(own, [0.01 * tones[0], 0.9 * tones[1]], 0.0).wave - own
    shares = [float(babble @ tone) for tone in tones]
    assert shares[0] == pytest.approx(shares[1], rel=1e-3)


def test_by_hand() -> None:
    # Both levels are 0.1. At -20 log10(2) dB the voice is twice as loud; it is looped to four.
    own = np.array([0.1, 0.1, -0.1, -0.1], np.float32)
    mixture = mix(own, [np.array([0.4, -0.4], np.float32)], -decibels(2))
    assert mixture.wave.tolist() == pytest.approx([0.3, -0.1, 0.1, -0.3], abs=1e-6)


def test_a_sum_above_full_scale_is_turned_down_as_a_whole() -> None:
    own = np.array([0.8, -0.8, 0.8, -0.8], np.float32)
    mixture = mix(own, [np.array([1.0, -1.0], np.float32)], 0.0)
    assert mixture.gain == pytest.approx(1 / 1.6)
    assert mixture.wave.tolist() == pytest.approx([1, -1, 1, -1])


def test_levels() -> None:
    assert level(np.array([3.0, -4.0, 0.0, 0.0], np.float32)) == 2.5
    assert level(np.zeros(0, np.float32)) == 0


def test_voices_that_are_silent_where_they_are_cut_add_nothing() -> None:
    own = noise(0, 10)
    late = np.concatenate([np.zeros(10), np.ones(5)]).astype(np.float32)
    assert mix(own, [late], -5.0).wave.tolist() == own.tolist()
