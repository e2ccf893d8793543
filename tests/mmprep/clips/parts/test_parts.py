import io

import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st
from scipy import signal

from mmprep.clips.parts import flow, frames
from mmprep.clips.parts import spectrogram as sounds
from mmprep.config import FlowConfig, SpectrogramConfig
from mmprep.failure import ClipError
from tests.support.media import tone


@pytest.mark.parametrize(
    ("duration_s", "fps", "expected"),
    [
        (10.0, 1.0, [0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5, 9.5]),
        (9.96, 1.0, [0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5, 9.5]),
        (12.7, 1.0, [0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5, 9.5]),
        (2.6, 1.0, [0.5, 1.5, 2.5]),
        (2.4, 1.0, [0.5, 1.5]),
        (0.5, 1.0, [0.5]),
        (1.0, 4.0, [0.125, 0.375, 0.625, 0.875]),
    ],
)
def test_frames_are_the_middles_of_the_seconds(
    duration_s: float, fps: float, expected: list[float]
) -> None:
    assert frames.frame_times(duration_s, fps, limit_s=10.0).tolist() == pytest.approx(expected)


def test_on_display_is_the_last_picture_that_began() -> None:
    times = np.array([0.0, 0.4, 0.5, 2.0])
    shown = frames.indices_on_display(times, np.array([0.39, 0.4, 0.5, 1.9, 2.0, 9.0]))
    assert shown.tolist() == [0, 1, 2, 2, 3, 3]


def test_on_display_forgives_milliseconds() -> None:
    # Matroska rounds 1/30 s to 33 ms; a picture stamped 0.5004 is the one of 0.5 s.
    assert frames.indices_on_display(np.array([0.467, 0.5004]), np.array([0.5])).tolist() == [1]


@given(st.lists(st.floats(0, 100), min_size=1, unique=True), st.floats(0, 100))
def test_on_display_never_shows_the_future(times: list[float], at: float) -> None:
    ordered = np.sort(np.array(times))
    index = int(frames.indices_on_display(ordered, np.array([at]))[0])
    assert index == 0 or ordered[index] <= at + 1e-3


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((480, 640, 3), (48, 64, 3)), ((640, 480), (64, 48)), ((12, 16, 3), (48, 64, 3))],
)
def test_short_side_is_as_asked(shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    assert frames.resize(np.zeros(shape, np.uint8), 48).shape == expected


def test_difference_keeps_every_change() -> None:
    before = np.array([[[0, 255, 10]]], np.uint8)
    after = np.array([[[255, 0, 10]]], np.uint8)
    # (255 - 0) // 2 + 128 = 255; (0 - 255) // 2 + 128 = 0; no change is 128.
    assert frames.difference(before, after).tolist() == [[[255, 0, 128]]]


@pytest.mark.parametrize(("seconds", "columns"), [(10, 1004), (3, 299)])
def test_psd_is_scipys_to_float16(seconds: int, columns: int) -> None:
    rng = np.random.default_rng(0)
    wave = (rng.normal(size=seconds * 16_000) * 0.1).astype(np.float32)
    wave[:4_000] = 0
    ours = sounds.spectrogram(wave, SpectrogramConfig())

    _, _, power = signal.spectrogram(wave.astype(np.float64), 16_000, nperseg=512, noverlap=353)
    exact = np.log(power + 1e-7)

    assert ours.shape == (257, columns)
    assert ours.dtype == np.float16
    # Half a unit in the last place is what rounding to float16 costs by itself.
    unit = np.spacing(np.abs(exact).astype(np.float16)).astype(np.float64)
    assert (np.abs(ours - exact) <= 0.51 * unit).all()


@pytest.mark.parametrize(
    ("rate_hz", "window", "overlap"),
    [(16_000, 512, 353), (4000, 256, 97), (4000, 255, 0), (22_050, 1000, 900), (4000, 17, 16)],
)
def test_psd_is_scipys_bit_for_bit(rate_hz: int, window: int, overlap: int) -> None:
    rng = np.random.default_rng(window)
    steps = np.rint(rng.normal(scale=9_000, size=6_001)).clip(-32_768, 32_767)
    wave = (steps / 32_768).astype(np.float32)
    wave[1_000:4_000] *= np.float32(1e-4)
    wave[4_000:] = 0
    config = SpectrogramConfig(rate_hz=rate_hz, window=window, overlap=overlap)

    _, _, power = signal.spectrogram(wave, rate_hz, nperseg=window, noverlap=overlap)

    expected = np.log(power + np.float32(1e-7)).astype(np.float16)
    np.testing.assert_array_equal(sounds.spectrogram(wave, config), expected, strict=True)


def test_stft_is_the_magnitude_on_the_same_grid() -> None:
    wave = (tone(10.0) / 32768).astype(np.float32)
    values = sounds.spectrogram(wave, SpectrogramConfig(recipe="stft"))
    assert values.shape == (257, 1004)
    # 1000 Hz is row 1000 / (16000 / 512) = 32; a Hann window of a half-scale sine sums to 512 / 8.
    assert int(values[:, 500].argmax()) == 32
    assert float(np.exp(values[32, 500].astype(np.float64))) == pytest.approx(512 / 8, rel=0.01)


@pytest.mark.slow
def test_fbank_is_padded_to_its_columns() -> None:
    wave = (tone(10.0) / 32768).astype(np.float32)
    values = sounds.spectrogram(wave, SpectrogramConfig(recipe="fbank"))
    assert values.shape == (128, 1024)
    # 10 s give (160000 - 400) / 160 + 1 = 998 windows of 25 ms; the rest is padding.
    assert not values[:, 998:].any()
    assert values[:, 997].any()
    hz, seconds = sounds.axes(SpectrogramConfig(recipe="fbank"), (128, 1024))
    assert hz[int(values[:, 500].argmax())] == pytest.approx(1000, rel=0.05)
    assert len(seconds) == 1024


def test_axes_of_psd_are_seconds_and_hertz() -> None:
    hz, seconds = sounds.axes(SpectrogramConfig(), (257, 1004))
    assert (hz[0], hz[32], hz[-1]) == (0, 1000, 8000)
    # The first window of 512 samples is centred on 256 / 16000 s; the hop is 159 samples.
    assert seconds[0] == pytest.approx(0.016)
    assert seconds[1] - seconds[0] == pytest.approx(159 / 16_000)


def test_short_sound_is_looped_and_long_sound_cut() -> None:
    wave = np.array([0.1, 0.2, 3.0], np.float32)
    assert sounds.fit_length(wave, 7).tolist() == pytest.approx([0.1, 0.2, 1, 0.1, 0.2, 1, 0.1])
    assert len(sounds.fit_length(np.zeros(99, np.float32), 7)) == 7
    assert sounds.fit_length(np.zeros(0, np.float32), 3).tolist() == [0, 0, 0]


def test_npy_holds_no_pickle() -> None:
    values = np.arange(6, dtype=np.float16).reshape(2, 3)
    back = np.load(io.BytesIO(sounds.npy(values)), allow_pickle=False)
    assert np.array_equal(back, values)
    assert back.dtype == np.float16


def moved(pixels: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    scene = np.kron(rng.integers(0, 255, (24, 32)), np.ones((6, 6))).astype(np.uint8)
    return scene[:, 16:-16], np.roll(scene, pixels, axis=1)[:, 16:-16]


@pytest.mark.parametrize("algorithm", ["dis", "tvl1"])
def test_flow_measures_a_known_shift(algorithm: str) -> None:
    maker = flow.FlowMaker(FlowConfig(algorithm=algorithm))
    before, after = moved(3)
    planes = maker.compute_stack([before, after])
    height = before.shape[0]
    assert planes.shape == (2 * height, before.shape[1])
    inner = slice(20, -20)
    u = flow.decode(planes[:height][inner, inner], 20.0)
    v = flow.decode(planes[height:][inner, inner], 20.0)
    assert float(np.median(u)) == pytest.approx(3, abs=0.3)
    assert float(np.median(v)) == pytest.approx(0, abs=0.2)


def test_flow_of_a_pair_does_not_depend_on_the_pair_before() -> None:
    maker = flow.FlowMaker(FlowConfig())
    first = maker.compute_stack(list(moved(3)))
    maker.compute_stack(list(moved(9)))
    assert np.array_equal(maker.compute_stack(list(moved(3))), first)


@given(st.floats(-30, 30))
def test_flow_survives_eight_bits(pixels: float) -> None:
    plane = np.full((1, 1), pixels, np.float32)
    back = float(flow.decode(flow.encode(plane, 20.0), 20.0)[0, 0])
    assert back == pytest.approx(max(-20, min(20, pixels)), abs=20 / 254 + 1e-4)


def test_no_motion_is_exactly_zero() -> None:
    assert flow.decode(flow.encode(np.zeros((1, 1), np.float32), 20.0), 20.0)[0, 0] == 0


def test_pairs_at_the_end_are_shifted_back() -> None:
    assert flow.consecutive_indices(3, 10, 2) == [3, 4, 5]
    assert flow.consecutive_indices(9, 10, 2) == [7, 8, 9]
    with pytest.raises(ClipError) as caught:
        flow.consecutive_indices(0, 2, 2)
    assert caught.value.cause == "too-short"


def test_grey_jpeg_has_one_channel() -> None:
    data = frames.jpeg(np.full((8, 8), 77, np.uint8), 90)
    assert simplejpeg.decode_jpeg_header(data)[2] == "Gray"
