"""Pixels that are not square, pictures that change their shape, and shapes that fit nowhere."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import simplejpeg

from mmprep.clips.outcome import Sample
from mmprep.clips.sample import SampleMaker
from mmprep.config import FlowConfig, FrameConfig, PartsConfig, complete_stored
from mmprep.failure import ClipError
from mmprep.manifest import Row
from tests.support.media import picture, write_clip
from tests.support.remux import write_matrix


def write_shapes(
    path: Path, sizes: list[tuple[int, int]], ratio: Fraction = Fraction(1), **options: Any
) -> Path:
    """Ten pictures of each of ``sizes``, in one stream with pixels of ``ratio``."""
    with av.open(str(path), "w", **options) as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = *sizes[0], "yuv420p"
        stream.codec_context.sample_aspect_ratio = ratio
        for part, size in enumerate(sizes):
            encoder = stream.codec_context
            if part:
                encoder = av.CodecContext.create("libx264", "w")
                encoder.width, encoder.height, encoder.pix_fmt = *size, "yuv420p"
                encoder.time_base = Fraction(1, 10)
            frames = []
            for number in range(10):
                frame = av.VideoFrame.from_ndarray(picture(number, size), format="rgb24")
                frame.pts, frame.time_base = number + 10 * part, Fraction(1, 10)
                frames.append(frame)
            packets = [p for frame in [*frames, None] for p in encoder.encode(frame)]
            for packet in packets:
                packet.stream = stream
                container.mux(packet)
    return path


def make(raw: Path, name: str, config: PartsConfig) -> tuple[Sample, dict[str, Any]]:
    row = Row(key="a", label="l", split="train", sources={"video": name})
    sample = SampleMaker(raw, config).make(row)
    return sample, json.loads(sample.payload["json"][0])


def config_of(*, square: bool = True, side: int = 48) -> PartsConfig:
    return PartsConfig(
        names=("frames", "flow"),
        frames=FrameConfig(short_side=side, square=square),
        flow=FlowConfig(short_side=side, square=square),
    )


def shapes_of(sample: Sample) -> list[tuple[int, int]]:
    """Height and width of the first frame and of the first flow field's plane."""
    frame = simplejpeg.decode_jpeg_header(sample.payload["frames"][0])
    flow = simplejpeg.decode_jpeg_header(sample.payload["flow"][0])
    return [(frame[0], frame[1]), (flow[0] // 2, flow[1])]


@pytest.mark.parametrize(
    ("ratio", "square", "shape"),
    [
        (Fraction(2), True, (48, 128)),
        (Fraction(1, 2), True, (72, 48)),
        (Fraction(2), False, (48, 64)),
        (Fraction(1), True, (48, 64)),
        # Scaling to whole pixels leaves such ratios behind; nothing is gained by a stretch.
        (Fraction(400, 399), True, (48, 64)),
    ],
)
def test_pixels_become_square_unless_told_otherwise(
    tmp_path: Path, ratio: Fraction, square: bool, shape: tuple[int, int]
) -> None:
    write_shapes(tmp_path / "a.mp4", [(64, 48)], ratio)
    sample, record = make(tmp_path, "a.mp4", config_of(square=square))
    assert shapes_of(sample) == [shape, shape]
    assert record["size"] == [shape[1], shape[0]]
    assert record.get("pixel_ratio") == (None if abs(ratio - 1) < 0.01 else float(ratio))


def test_wide_pixels_of_a_turned_picture_are_high(tmp_path: Path) -> None:
    write_matrix(write_shapes(tmp_path / "a.mp4", [(64, 48)], Fraction(2)), (0, 1, -1, 0))
    sample, record = make(tmp_path, "a.mp4", config_of())
    assert shapes_of(sample) == [(128, 48), (128, 48)]
    assert record["pixel_ratio"] == 0.5


def test_data_sets_from_before_the_parameter_kept_the_stored_pixels() -> None:
    old = config_of(square=False).to_json()
    assert "square" not in old["frames"]
    assert "square" not in old["flow"]
    assert PartsConfig.from_json(complete_stored(old)) == config_of(square=False)
    assert PartsConfig.from_json(complete_stored(config_of().to_json())) == config_of()
    assert PartsConfig.from_json({"frames": {}}).frames.square


def test_a_change_of_resolution_gives_pictures_of_one_size(tmp_path: Path) -> None:
    write_shapes(tmp_path / "a.ts", [(128, 96), (64, 48)], format="mpegts")
    sample, _ = make(tmp_path, "a.ts", config_of(side=50))
    headers = [simplejpeg.decode_jpeg_header(data) for data in sample.payload["frames"]]
    assert len(headers) == 2
    assert len({header[:2] for header in headers}) == 1


def test_a_change_of_shape_is_named(tmp_path: Path) -> None:
    write_shapes(tmp_path / "a.ts", [(64, 64), (96, 64)], format="mpegts")
    with pytest.raises(ClipError) as caught:
        make(tmp_path, "a.ts", config_of())
    assert caught.value.cause == "mixed-pictures"


@pytest.mark.parametrize("square", [True, False])
def test_a_ticker_does_not_fit_into_a_jpeg(tmp_path: Path, square: bool) -> None:
    write_clip(
        tmp_path / "a.mp4", seconds=1, fps=5, size=(8000, 16), shows=lambda number: wide(number)
    )
    with pytest.raises(ClipError, match="128000 x 256") as caught:
        make(tmp_path, "a.mp4", config_of(side=256, square=square))
    assert caught.value.cause == "too-large"


def wide(number: int) -> np.ndarray:
    return np.full((16, 8000, 3), number, np.uint8)


def test_flow_fields_that_do_not_fit_into_a_jpeg_are_not_computed(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", seconds=7)
    config = PartsConfig(names=("flow",), flow=FlowConfig(fields=64, short_side=4096))
    with pytest.raises(ClipError) as caught:
        make(tmp_path, "a.mp4", config)
    assert caught.value.cause == "too-large"
