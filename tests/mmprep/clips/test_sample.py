import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
from scipy import signal

from mmprep.clips.decode.clip import Clip
from mmprep.clips.outcome import Sample
from mmprep.clips.parts.frames import jpeg
from mmprep.clips.sample import SampleMaker
from mmprep.config import FlowConfig, FrameConfig, PartsConfig, SpectrogramConfig
from mmprep.failure import ClipError
from mmprep.manifest import Row
from tests.support.media import number_of, picture, tone, write_clip

FRAMES = FrameConfig(short_side=48, quality=100)


def make(raw: Path, config: PartsConfig, **sources: str) -> tuple[Sample, dict[str, Any]]:
    row = Row(key="a", label='été, "x"', split="val", sources=sources, extra={"actor": "7"})
    sample = SampleMaker(raw, config).make(row)
    return sample, json.loads(sample.payload["json"][0])


def refused(raw: Path, config: PartsConfig, **sources: str) -> str:
    with pytest.raises(ClipError) as caught:
        make(raw, config, **sources)
    return caught.value.cause


def shown(sample: Sample) -> list[int]:
    return [number_of(simplejpeg.decode_jpeg(data)) for data in sample.payload["frames"]]


def test_frames_spectrogram_and_record_of_a_clip(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", seconds=3)
    sample, record = make(tmp_path, PartsConfig(clip_s=3.0, frames=FRAMES), video="a.mp4")

    assert shown(sample) == [5, 15, 25]
    values = np.load(io.BytesIO(sample.payload["spectrogram"][0]))
    assert (values.shape, values.dtype) == ((257, 299), np.float16)
    assert list(sample.payload) == ["json", "frames", "spectrogram"]
    assert record["label"] == 'été, "x"'
    assert record["split"] == "val"
    assert record["extra"] == {"actor": "7"}
    assert record["times_s"] == [0.5, 1.5, 2.5]
    assert record["size"] == [64, 48]
    assert (record["duration_s"], record["fps"]) == (3.0, 10.0)
    assert record["audio"]["rate_hz"] == 16_000
    assert record["decoder"] == "pyav"
    assert record["checks"] == {
        "black": False,
        "frozen": False,
        "no_audio": False,
        "silent": False,
        "looped": False,
        "duration_mismatch": False,
        "damaged": 0,
    }


def test_spectrogram_is_scipys_of_the_decoded_sound(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", seconds=2)
    sample, record = make(tmp_path, PartsConfig(clip_s=3.0, frames=FRAMES), video="a.mp4")
    with Clip(tmp_path / "a.mp4", None, 3.0, video=True, audio=True) as clip:
        wave = clip.sound(16_000).astype(np.float64)
    looped = np.tile(wave, 2)[:48_000]

    _, _, power = signal.spectrogram(looped, 16_000, nperseg=512, noverlap=353)

    expected = np.log(power + 1e-7).astype(np.float16)
    np.testing.assert_array_max_ulp(
        np.load(io.BytesIO(sample.payload["spectrogram"][0])), expected, 1
    )
    assert record["checks"]["looped"]


def test_a_row_may_be_a_span_of_its_source(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", seconds=4)
    row = Row(key="a", label="l", split="train", sources={"video": "a.mp4"}, start=1.0, end=3.0)
    sample = SampleMaker(tmp_path, PartsConfig(frames=FRAMES)).make(row)
    assert shown(sample) == [15, 25]
    record = json.loads(sample.payload["json"][0])
    assert (record["duration_s"], record["source_duration_s"]) == (2.0, pytest.approx(4, abs=0.1))


def test_separate_sound_file_takes_the_place_of_the_videos_own(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", sound=np.zeros(0, np.int16))
    write_clip(tmp_path / "a.wav", video=False, audio_codec="pcm_s16le", sound=tone(2.0, hz=2000))
    config = PartsConfig(clip_s=2.0, frames=FRAMES)
    sample, record = make(tmp_path, config, video="a.mp4", audio="a.wav")
    values = np.load(io.BytesIO(sample.payload["spectrogram"][0]))
    # 2000 Hz is row 2000 / (16000 / 512) = 64.
    assert int(values[:, 100].argmax()) == 64
    assert record["audio"]["codec"] == "pcm_s16le"


def test_clip_without_sound_fails_or_becomes_silence(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", sound=np.zeros(0, np.int16))
    assert refused(tmp_path, PartsConfig(frames=FRAMES), video="a.mp4") == "no-audio"

    silent = PartsConfig(clip_s=2.0, frames=FRAMES, missing_audio="silence")
    sample, record = make(tmp_path, silent, video="a.mp4")

    values = np.load(io.BytesIO(sample.payload["spectrogram"][0]))
    assert (values == np.float16(np.log(1e-7))).all()
    assert record["checks"]["no_audio"]
    assert record["audio"] is None


def test_silent_black_and_frozen_clips_are_marked(tmp_path: Path) -> None:
    zeros = np.zeros(32_000, np.int16)
    write_clip(tmp_path / "a.mp4", sound=zeros, shows=lambda number: np.zeros_like(picture(0)))
    _, record = make(tmp_path, PartsConfig(clip_s=2.0, frames=FRAMES), video="a.mp4")
    assert record["checks"]["silent"]
    assert record["checks"]["black"]
    assert record["checks"]["frozen"]


def test_flow_has_its_fields_stacked_downwards(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4")
    config = PartsConfig(
        names=("frames", "flow"), frames=FRAMES, flow=FlowConfig(fields=3, short_side=48)
    )
    sample, _ = make(tmp_path, config, video="a.mp4")
    height, width, space, _ = simplejpeg.decode_jpeg_header(sample.payload["flow"][0])
    assert (height, width, space) == (2 * 3 * 48, 64, "Gray")
    assert len(sample.payload["flow"]) == len(sample.payload["frames"]) == 2


def test_difference_is_that_of_neighbouring_pictures(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4")
    config = PartsConfig(names=("frames", "difference"), frames=FRAMES)
    sample, _ = make(tmp_path, config, video="a.mp4")
    # `picture` grows by 5 from one to the next: 128 + 5 // 2.
    means = [simplejpeg.decode_jpeg(data).mean() for data in sample.payload["difference"]]
    assert means == pytest.approx([130, 130], abs=0.7)


def test_depth_is_grey_and_has_the_frames_times(tmp_path: Path) -> None:
    write_clip(tmp_path / "colour.avi", sound=np.zeros(0, np.int16))
    write_clip(tmp_path / "depth.avi", sound=np.zeros(0, np.int16))
    config = PartsConfig(names=("frames", "depth"), frames=FRAMES)
    sample, _ = make(tmp_path, config, video="colour.avi", depth="depth.avi")
    assert simplejpeg.decode_jpeg_header(sample.payload["depth"][0])[2] == "Gray"
    depth = [number_of(simplejpeg.decode_jpeg(d, "GRAY")) for d in sample.payload["depth"]]
    assert depth == shown(sample)


def test_image_and_sound_make_a_sample(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg(picture(7), 100))
    write_clip(tmp_path / "a.wav", video=False, audio_codec="pcm_s16le")
    config = PartsConfig(clip_s=1.0, frames=FRAMES, spectrogram=SpectrogramConfig())
    sample, record = make(tmp_path, config, image="a.jpg", audio="a.wav")
    assert shown(sample) == [7]
    assert record["times_s"] == [0.0]
    with_flow = PartsConfig(names=("frames", "flow"), frames=FRAMES)
    assert refused(tmp_path, with_flow, image="a.jpg") == "no-video"


def test_what_is_too_short_or_lacks_pictures_is_said(tmp_path: Path) -> None:
    write_clip(tmp_path / "blink.mp4", seconds=0.3)
    write_clip(tmp_path / "sound.m4a", video=False)
    config = PartsConfig(frames=FRAMES)
    assert refused(tmp_path, config, video="blink.mp4") == "too-short"
    assert refused(tmp_path, config, video="sound.m4a") == "no-video"
    assert refused(tmp_path, config, audio="sound.m4a") == "no-video"
    assert refused(tmp_path, config, video="gone.mp4") == "missing"


def test_a_link_out_of_raw_is_refused(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    write_clip(tmp_path / "secret.mp4")
    (raw / "a.mp4").symlink_to(tmp_path / "secret.mp4")
    assert refused(raw, PartsConfig(frames=FRAMES), video="a.mp4") == "outside-raw"
