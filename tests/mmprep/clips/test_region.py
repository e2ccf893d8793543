"""Regions of pictures, and clips of a fraction of a second."""

import io
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import simplejpeg
from numpy.typing import NDArray

from mmprep.clips.outcome import Sample
from mmprep.clips.parts.frames import crop, shortest_s
from mmprep.clips.sample import SampleMaker
from mmprep.config import FlowConfig, FrameConfig, PartsConfig, SpectrogramConfig, complete_stored
from mmprep.errors import ConfigError
from mmprep.failure import ClipError
from mmprep.manifest import Row
from tests.mmprep.clips.test_shapes import write_shapes
from tests.support.media import picture, write_clip
from tests.support.remux import write_matrix

# Greys of the quarters of a picture, as they lie.
QUARTERS = np.array([[20, 80], [140, 200]], np.uint8)


def quarters(_: int, size: tuple[int, int] = (64, 48)) -> NDArray[np.uint8]:
    width, height = size
    grey = np.kron(QUARTERS, np.ones((height // 2, width // 2), np.uint8))
    return np.repeat(grey[..., None], 3, axis=2)


def make(
    raw: Path,
    config: PartsConfig,
    start: float | None = None,
    end: float | None = None,
    **sources: str,
) -> tuple[Sample, dict[str, Any]]:
    row = Row(key="a", label="l", split="train", sources=sources, start=start, end=end)
    sample = SampleMaker(raw, config).make(row)
    return sample, json.loads(sample.payload["json"][0])


def config_of(region: str, *names: str, **more: Any) -> PartsConfig:
    return PartsConfig(
        names=names or ("frames",),
        frames=FrameConfig(short_side=24, quality=100, region=region, **more),
        flow=FlowConfig(short_side=24),
        clip_s=2.0,
    )


def greys(data: bytes) -> list[int]:
    """Greys of the four corners of a JPEG, upper ones first."""
    grey = simplejpeg.decode_jpeg(data, colorspace="GRAY")[..., 0]
    return [int(grey[y, x]) for y in (2, -3) for x in (2, -3)]


@pytest.mark.parametrize(
    ("region", "expected"),
    [
        ("0,1,0,1", [20, 80, 140, 200]),
        ("0,0.5,0.5,1", [140, 140, 140, 140]),
        ("0.5,1,0,0.5", [80, 80, 80, 80]),
        ("0.25,0.75,0.5,1", [140, 200, 140, 200]),
    ],
)
def test_frames_show_the_region(tmp_path: Path, region: str, expected: list[int]) -> None:
    write_clip(tmp_path / "a.mp4", shows=quarters)
    sample, record = make(tmp_path, config_of(region), video="a.mp4")
    assert greys(sample.payload["frames"][0]) == pytest.approx(expected, abs=4)
    assert record["size"] == [32, 24]
    assert record.get("region") == (None if region == "0,1,0,1" else region)


def test_pictures_and_depth_and_still_images_show_it_too(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", shows=quarters)
    config = config_of("0,0.5,0.5,1", "frames", "difference", "depth")
    sample, _ = make(tmp_path, config, video="a.mp4", depth="a.mp4")
    assert greys(sample.payload["depth"][0]) == pytest.approx([140] * 4, abs=4)
    assert greys(sample.payload["difference"][0]) == pytest.approx([128] * 4, abs=2)
    cv2.imwrite(str(tmp_path / "a.png"), quarters(0))
    still, record = make(tmp_path, config_of("0,0.5,0.5,1"), image="a.png")
    assert greys(still.payload["frames"][0]) == pytest.approx([140] * 4, abs=4)
    assert record["region"] == "0,0.5,0.5,1"


def test_flow_is_of_the_region_of_the_frames(tmp_path: Path) -> None:
    def shows(number: int) -> NDArray[np.uint8]:
        # The left half stands still; the right half moves by three pixels a picture.
        scene = np.random.default_rng(0).integers(0, 255, (12, 32, 3)).astype(np.uint8)
        scene = np.kron(scene, np.ones((8, 8, 1))).astype(np.uint8)
        moved = np.roll(scene, 3 * number, axis=1)
        return np.concatenate([scene[:, :96], moved[:, :96]], axis=1)

    write_clip(tmp_path / "a.mp4", size=(192, 96), shows=shows)
    still, moving = (
        simplejpeg.decode_jpeg(
            make(tmp_path, config_of(region, "flow"), video="a.mp4")[0].payload["flow"][0],
            colorspace="GRAY",
        )
        for region in ("0,0.5,0,1", "0.5,1,0,1")
    )
    assert still.shape == moving.shape == (48, 24, 1)
    assert abs(int(np.median(still[:24])) - 128) <= 1
    assert int(np.median(moving[:24])) > 130


def test_the_region_is_of_the_upright_picture_with_square_pixels(tmp_path: Path) -> None:
    # Stored 64 x 48 with pixels twice as wide as high, and shown turned by a quarter: 48 x 128.
    write_matrix(write_shapes(tmp_path / "a.mp4", [(64, 48)], Fraction(2)), (0, 1, -1, 0))
    _, whole = make(tmp_path, config_of("0,1,0,1"), video="a.mp4")
    _, top = make(tmp_path, config_of("0,1,0,0.5"), video="a.mp4")
    assert (whole["size"], top["size"]) == ([24, 64], [24, 32])

    write_matrix(write_clip(tmp_path / "b.mp4", shows=quarters), (0, 1, -1, 0))
    turned, _ = make(tmp_path, config_of("0,1,0,1"), video="b.mp4")
    corners = greys(turned.payload["frames"][0])
    for place, region in enumerate(("0,0.5,0,0.5", "0.5,1,0,0.5", "0,0.5,0.5,1", "0.5,1,0.5,1")):
        part, _ = make(tmp_path, config_of(region), video="b.mp4")
        assert greys(part.payload["frames"][0]) == pytest.approx([corners[place]] * 4, abs=4)


def test_a_region_has_at_least_a_pixel() -> None:
    small = picture(0, (4, 4))
    assert crop(small, (0.0, 0.01, 0.99, 1.0)).shape == (1, 1, 3)
    assert crop(small, (0.99, 1.0, 0.0, 1.0)).shape == (4, 1, 3)
    assert crop(small, (0.0, 1.0, 0.0, 1.0)).shape == (4, 4, 3)


@pytest.mark.parametrize(
    "region",
    ["", "0,1,0", "0,1,0,1,0", "0.5,0.5,0,1", "0.6,0.5,0,1", "-0.1,1,0,1", "0,1,0,1.1", "a,b,c,d",
     "nan,1,0,1"],
)  # fmt: skip
def test_other_regions_are_refused_by_name(region: str) -> None:
    with pytest.raises(ConfigError, match=r"frames\.region is the left, right, top and bottom"):
        FrameConfig(region=region)


def test_a_region_is_written_in_one_way_and_only_where_there_is_one() -> None:
    assert FrameConfig(region="[0.250, .75, 0.5, 1.0]").region == "0.25,0.75,0.5,1"
    assert "region" not in config_of("0.0,1,0,1").to_json()["frames"]
    config = config_of("0.25,0.75,0.5,1")
    assert config.to_json()["frames"]["region"] == "0.25,0.75,0.5,1"
    assert PartsConfig.from_json(complete_stored(config.to_json())).frames == config.frames


def test_flow_alone_records_the_times_and_the_region_of_its_pictures() -> None:
    assert "frames" not in config_of("0,1,0,1", "flow").to_json()
    config = config_of("0,0.5,0,1", "flow", fps=5.0)
    assert config.to_json()["frames"] == {"fps": 5.0, "region": "0,0.5,0,1"}
    back = PartsConfig.from_json(complete_stored(config.to_json()))
    assert (back.frames.fps, back.frames.region) == (5.0, "0,0.5,0,1")


@pytest.mark.parametrize(("clip_s", "frames", "columns"), [(0.64, 16, 62), (0.5, 13, 48)])
def test_a_clip_of_half_a_second_has_frames_and_a_spectrogram(
    tmp_path: Path, clip_s: float, frames: int, columns: int
) -> None:
    write_clip(tmp_path / "a.mp4", seconds=3, fps=25)
    config = PartsConfig(clip_s=clip_s, frames=FrameConfig(fps=25, short_side=48))
    start = 1.445
    sample, record = make(tmp_path, config, start, start + clip_s, video="a.mp4")
    assert len(sample.payload["frames"]) == frames
    values = np.load(io.BytesIO(sample.payload["spectrogram"][0]))
    assert values.shape == (257, columns)
    assert record["duration_s"] == clip_s
    assert not record["checks"]["looped"]


def test_a_clip_needs_half_of_a_short_length(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", seconds=2, fps=25)
    config = PartsConfig(clip_s=0.64, frames=FrameConfig(fps=25, short_side=48))
    sample, record = make(tmp_path, config, 1.64, 2.28, video="a.mp4")
    assert len(sample.payload["frames"]) == 9
    assert record["checks"]["looped"]
    with pytest.raises(ClipError, match=r"0\.28 s of pictures; a sample needs 0\.32 s") as caught:
        make(tmp_path, config, 1.72, 2.36, video="a.mp4")
    assert caught.value.cause == "too-short"


def test_the_shortest_clip_is_half_a_second_or_half_a_frame() -> None:
    assert shortest_s(1.0, 10.0) == 0.5  # as before there were shorter clips
    assert shortest_s(25.0, 10.0) == 0.5
    assert shortest_s(25.0, 0.64) == 0.32
    assert shortest_s(0.5, 10.0) == 1.0


@pytest.mark.parametrize(
    ("clip_s", "sound", "floor"),
    [
        (0.03, SpectrogramConfig(), "0.032"),
        (0.02, SpectrogramConfig(recipe="fbank"), "0.025"),
        (0.5, SpectrogramConfig(window=16_000, overlap=0, recipe="stft"), "1"),
    ],
)
def test_a_clip_holds_a_window_of_its_spectrogram(
    clip_s: float, sound: SpectrogramConfig, floor: str
) -> None:
    with pytest.raises(ConfigError, match=f"clip_s is {clip_s:g}, .* choose {floor} or more"):
        PartsConfig(clip_s=clip_s, spectrogram=sound)
    PartsConfig(clip_s=clip_s, spectrogram=sound, names=("frames",))
    PartsConfig(clip_s=float(floor), spectrogram=sound)


@pytest.mark.parametrize("clip_s", [0.0, -1.0, 0.001, 3601.0, float("nan")])
def test_a_length_that_makes_no_sense_is_refused(clip_s: float) -> None:
    with pytest.raises(ConfigError, match=r"clip_s is 0\.01 to 3600"):
        PartsConfig(clip_s=clip_s, names=("frames",))
