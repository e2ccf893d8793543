"""Faults that people report, one small clip each, where a folder of them lies near."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
from numpy.typing import NDArray

from mmprep.clips.decode.clip import Clip
from mmprep.clips.outcome import Sample
from mmprep.clips.sample import SampleMaker
from mmprep.config import PartsConfig
from mmprep.failure import ClipError
from mmprep.manifest import Row
from tests.support.remux import beep_times

REPORTS = Path(__file__).parents[4] / "shared/media/reports"
pytestmark = pytest.mark.skipif(not REPORTS.is_dir(), reason="no folder of reported clips here")

BOTH = ("frames", "spectrogram")


def make(name: str, *names: str, start: float | None = None, end: float | None = None) -> Sample:
    kind = "audio" if name.endswith(".wav") else "video"
    row = Row(key="k", label="l", split="train", sources={kind: name}, start=start, end=end)
    return SampleMaker(REPORTS, PartsConfig(names=names or BOTH)).make(row)


def record_of(sample: Sample) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(sample.payload["json"][0])
    return record


def shown(sample: Sample) -> list[int]:
    """Numbers of the pictures: cell k of a 4 x 4 board is white where bit k is 1."""
    numbers = []
    for data in sample.payload["frames"]:
        grey = simplejpeg.decode_jpeg(data, "GRAY")[..., 0]
        height, width = grey.shape
        cells = [
            grey[height * (2 * r + 1) // 8, width * (2 * c + 1) // 8] for r, c in np.ndindex(4, 4)
        ]
        numbers.append(sum(int(cell > 128) << k for k, cell in enumerate(cells)))
    return numbers


def bursts(name: str, start: float | None = None, end: float | None = None) -> list[float]:
    with Clip(REPORTS / name, start, end, video=name.endswith(".ts"), audio=True) as clip:
        return beep_times(clip.sound(16_000))


def at(*times: float) -> list[object]:
    return [pytest.approx(time, abs=5e-3) for time in times]


def cause_of(name: str, *names: str) -> str:
    with pytest.raises(ClipError) as caught:
        make(name, *names)
    return caught.value.cause


@pytest.mark.parametrize(
    ("name", "start", "end", "numbers"),
    [
        ("avi_45s.avi", 35, 40, [885, 910, 935, 960, 985]),
        ("avi_45s.avi", 36.7, 41.7, [930, 955, 980, 1005, 1030]),
        ("ts_44s.ts", 36.7, 41.7, [925, 949, 977, 1001, 1025]),
        ("ts_44s.ts", 35, 40, [881, 909, 933, 957, 981]),
        ("avi_dropped_short.avi", None, None, [12, 37, 49, 87, 112, 137, 162, 187]),
        ("avi_dropped.avi", None, None, [12, 37, 49, 49, 112, 137, 162, 187]),
    ],
)
def test_pictures_of_spans_and_of_avi_files_with_empty_chunks(
    name: str, start: float | None, end: float | None, numbers: list[int]
) -> None:
    sample = make(name, "frames", start=start, end=end)
    assert shown(sample) == numbers
    assert record_of(sample)["checks"]["damaged"] == 0
    assert record_of(sample)["duration_s"] == (8 if start is None else pytest.approx(5))


def test_bursts_lie_in_their_places() -> None:
    assert bursts("sound_gap.mp4") == at(0.5, 1.5, 2.5, *(k + 0.5 for k in range(5, 12)))
    assert bursts("sound_damaged.mp4") == at(0.5, 1.5, 2.5, *(k + 0.5 for k in range(4, 12)))
    assert bursts("fragmented.mp4") == at(*(k + 0.58 for k in range(12)))
    assert bursts("sound_90ms_late.mp4") == at(*(k + 0.59 for k in range(12)))


@pytest.mark.parametrize("start", [1.0, 3.3])
def test_bursts_are_the_same_from_any_start(start: float) -> None:
    for name, offset in (("fragmented.mp4", 0.58), ("sound_90ms_late.mp4", 0.59)):
        middles = [k + offset - start for k in range(9)]
        assert bursts(name, start, 8.95) == at(*(m for m in middles if m > 0))


def test_a_gap_is_silence_and_damage_is_counted() -> None:
    assert not record_of(make("sound_gap.mp4"))["checks"]["looped"]
    assert 24 <= record_of(make("sound_damaged.mp4"))["checks"]["damaged"] <= 30


def test_a_clock_that_restarts_goes_on() -> None:
    sample = make("clock_restarts.ts")
    assert shown(sample) == [12, 37, 62, 87, 112, 137, 162, 187]
    assert record_of(sample)["duration_s"] == pytest.approx(8.0)
    assert bursts("clock_restarts.ts") == at(*(k + 0.5 for k in range(8)))


def test_sound_that_becomes_mono_and_pictures_that_change_their_shape() -> None:
    assert record_of(make("sound_becomes_mono.ts"))["duration_s"] == pytest.approx(8, abs=0.1)
    # By the file's clock the second half comes 80 ms early, pictures and sound.
    early = [k + 0.5 - (0.08 if k > 3 else 0) for k in range(8)]
    assert bursts("sound_becomes_mono.ts") == at(*early)
    assert cause_of("picture_changes_shape.ts") == "mixed-pictures"


def colours(sample: Sample) -> list[str]:
    """Names of the four quarters' colours, row by row."""
    names = {(1, 0, 0): "red", (0, 1, 0): "green", (0, 0, 1): "blue", (1, 1, 1): "white"}
    pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(sample.payload["frames"][0])
    height, width, _ = pixels.shape
    places = [(r * height // 4, c * width // 4) for r in (1, 3) for c in (1, 3)]
    return [names[tuple((pixels[place] > 100).astype(int).tolist())] for place in places]


def test_orientation_and_shape_of_pixels() -> None:
    mirrored, turned, wide = (make(f"{n}.mp4") for n in ("mirror", "transposed", "wide_pixels"))
    assert colours(mirrored) == ["green", "red", "white", "blue"]
    assert colours(turned) == ["red", "blue", "green", "white"]
    assert record_of(turned)["size"] == [256, 341]
    assert colours(wide) == ["red", "green", "blue", "white"]
    assert record_of(wide)["size"] == [683, 256]
    assert record_of(wide)["pixel_ratio"] == 2


def test_sound_that_outlasts_the_pictures() -> None:
    assert shown(make("long_sound.mkv", "frames")) == shown(make("long_sound.mkv"))
    assert len(make("long_sound.mkv", "frames").payload["frames"]) == 4
    for parts in (("frames",), BOTH):
        assert shown(make("one_picture_6s_sound.mkv", *parts)) == [0] * 6


def test_failures_have_their_names() -> None:
    assert cause_of("encrypted.mp4") == "encrypted"
    assert cause_of("ticker_8000x16.mp4") == "too-large"


def test_a_span_of_adpcm() -> None:
    make("adpcm_40s.wav", "spectrogram", start=32.5, end=38.5)
    # The burst at 32.5 s is cut in half by the start, and that at 38.5 s by the end.
    assert bursts("adpcm_40s.wav", 32.5, 38.5)[1:6] == at(1, 2, 3, 4, 5)
