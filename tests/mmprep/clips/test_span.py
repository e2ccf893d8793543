"""Files that are whole videos, under the name of a clip without times."""

import json

import pytest

from mmprep.clips.sample import SampleMaker
from mmprep.config import FrameConfig, PartsConfig
from mmprep.failure import ClipError
from mmprep.manifest import Row
from tests.support.media import number_of, tone, write_clip

CONFIG = PartsConfig(names=("frames",), clip_s=2.0, frames=FrameConfig(short_side=32))


def record_of(tmp_path, seconds, listed=(3.0, 5.0), config=CONFIG):
    """Record of the sample of a video of ``seconds``, which is listed at ``listed``."""
    sound = tone(seconds) if "spectrogram" in config.names else None
    write_clip(tmp_path / "a.mp4", seconds=seconds, fps=5, sound=sound)
    row = Row(key="a", label="x", split="train", sources={"video": "a.mp4"}, listed=listed)
    sample = SampleMaker(tmp_path, config).make(row)
    return json.loads(sample.payload["json"][0]), sample.payload


@pytest.mark.parametrize("names", [("frames",), ("spectrogram",), ("frames", "spectrogram")])
def test_a_whole_video_is_cut_at_the_listed_times(tmp_path, names):
    config = PartsConfig(names=names, clip_s=2.0, frames=FrameConfig(short_side=32))
    record, _ = record_of(tmp_path, 8.0, config=config)
    assert (record["start"], record["end"]) == (3.0, 5.0)
    assert record["duration_s"] == pytest.approx(2.0, abs=0.1 if "frames" in names else 1e-6)
    # The file's sound goes on, and some of it is read.
    assert "spectrogram" not in names or record["audio"]["duration_s"] == 2.0
    assert record["source_duration_s"] == pytest.approx(8.0, abs=0.2)
    assert record["checks"]["duration_mismatch"] is True
    assert record["checks"]["whole_video"] is True


def test_the_pictures_are_those_of_the_listed_times(tmp_path):
    import cv2
    import numpy as np

    _, payload = record_of(tmp_path, 8.0)
    images = [cv2.imdecode(np.frombuffer(data, np.uint8), 1) for data in payload["frames"]]
    # The middles of the seconds, 3.5 and 4.5 s, show the pictures 17 and 22 of 5 a second.
    assert [number_of(image) for image in images] == [17, 22]


def test_a_file_as_long_as_a_clip_is_the_clip(tmp_path):
    record, _ = record_of(tmp_path, 2.6)
    assert (record["start"], record["end"]) == (None, None)
    assert not record["checks"].get("duration_mismatch")
    assert "whole_video" not in record["checks"]


def test_a_whole_video_that_ends_before_the_listed_times_fails_by_name(tmp_path):
    with pytest.raises(ClipError, match=r"a whole video of 4\.\d+ s; .* 7 to 8 s") as caught:
        record_of(tmp_path, 4.0, listed=(7.0, 8.0))
    assert caught.value.cause == "ends-early"
