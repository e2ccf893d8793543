"""Babble of other clips in a sample: its ratio, its record, and sounds that cannot be mixed."""

import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmprep.clips.sample import SampleMaker
from mmprep.config import AudioConfig, PartsConfig, SpectrogramConfig
from mmprep.errors import ConfigError
from mmprep.manifest import Row, Voice
from tests.support.media import tone, write_clip

SPECTROGRAM = SpectrogramConfig(rate_hz=4000, window=64, overlap=32)


def config_of(ratio_db: float | None, clips: int = 2, **more: Any) -> PartsConfig:
    return PartsConfig(
        names=("spectrogram",),
        clip_s=1.0,
        spectrogram=SPECTROGRAM,
        audio=AudioConfig(babble_db=ratio_db, babble_clips=clips),
        **more,
    )


def write_tones(raw: Path, **hertz: float) -> None:
    for name, hz in hertz.items():
        sound = (0.1 * tone(1.0, hz=hz)).astype(np.int16)
        write_clip(raw / f"{name}.wav", video=False, audio_codec="pcm_s16le", sound=sound)


def make(
    raw: Path, config: PartsConfig, *others: str, **more: Any
) -> tuple[np.ndarray, dict[str, Any]]:
    voices = tuple(Voice(key=name, source=f"{name}.wav") for name in others)
    row = Row(
        key="own", label="l", split="train", sources={"audio": "own.wav"}, voices=voices, **more
    )
    payload = SampleMaker(raw, config).make(row).payload
    return np.load(io.BytesIO(payload["spectrogram"][0])), json.loads(payload["json"][0])


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    write_tones(tmp_path, own=500, b=1000, c=1500, d=1750)
    return tmp_path


@pytest.mark.parametrize("ratio_db", [-6.0, 0.0, 6.0])
def test_a_tone_stands_above_another_by_the_ratio(raw: Path, ratio_db: float) -> None:
    values, record = make(raw, config_of(ratio_db, clips=1), "b", "c")
    # 500 and 1000 Hz are rows 8 and 16 of 4000 / 64 Hz each.
    own, other = values[8].astype(float).mean(), values[16].astype(float).mean()
    assert 10 / math.log(10) * (own - other) == pytest.approx(ratio_db, abs=0.1)
    assert record["babble"] == {"ratio_db": ratio_db, "clips": ["b"], "gain": 1.0}
    assert not record["checks"]["silent"]


def test_several_clips_make_the_babble_together(raw: Path) -> None:
    values, record = make(raw, config_of(0.0), "c", "b", "d")
    rows = [values[row].astype(float).mean() for row in (8, 16, 24, 28)]
    # Two voices of half the power each; the third that was drawn is a spare.
    assert rows[0] - rows[1] == pytest.approx(math.log(2), abs=0.05)
    assert rows[1] == pytest.approx(rows[2], abs=0.05)
    assert rows[3] < rows[2] - 3
    assert record["babble"]["clips"] == ["c", "b"]


def test_without_the_dial_nothing_changes(raw: Path) -> None:
    plain, record = make(raw, config_of(None))
    drawn, _ = make(raw, config_of(None), "b", "c")
    assert np.array_equal(plain, drawn)
    assert "babble" not in record
    assert "audio" not in config_of(None).to_json()
    assert config_of(-5.0).to_json()["audio"] == {"babble_db": -5.0, "babble_clips": 2}
    assert PartsConfig.from_json(config_of(-5.0).to_json()) == config_of(-5.0)
    pictures = PartsConfig(names=("frames",), audio=AudioConfig(babble_db=-5.0))
    assert "audio" not in pictures.to_json()


def test_clips_that_give_no_sound_are_replaced_by_the_next(raw: Path) -> None:
    silence = np.zeros(16_000, np.int16)
    write_clip(raw / "mute.wav", video=False, audio_codec="pcm_s16le", sound=silence)
    (raw / "bad.wav").write_bytes(b"no media at all")
    _, record = make(raw, config_of(0.0), "mute", "bad", "gone", "c", "d", "b")
    assert record["babble"]["clips"] == ["c", "d"]
    alone, plain = make(raw, config_of(0.0), "bad", "gone"), make(raw, config_of(None))
    assert alone[1]["babble"] == {"ratio_db": 0.0, "clips": []}
    assert np.array_equal(alone[0], plain[0])


def test_a_silent_sound_has_no_ratio_and_stays(tmp_path: Path) -> None:
    write_tones(tmp_path, b=1000)
    silence = np.zeros(16_000, np.int16)
    write_clip(tmp_path / "own.wav", video=False, audio_codec="pcm_s16le", sound=silence)
    values, record = make(tmp_path, config_of(-5.0), "b")
    assert (values == values.min()).all()
    assert record["babble"] == {"ratio_db": -5.0, "clips": []}
    assert record["checks"]["silent"]


def test_an_absent_sound_stays_absent(tmp_path: Path) -> None:
    write_tones(tmp_path, b=1000)
    write_clip(tmp_path / "own.mp4", sound=np.zeros(0, np.int16))
    voices = (Voice(key="b", source="b.wav"),)
    row = Row(key="own", label="l", split="train", sources={"video": "own.mp4"}, voices=voices)
    config = config_of(-5.0, missing_audio="silence")
    record = json.loads(SampleMaker(tmp_path, config).make(row).payload["json"][0])
    assert record["babble"]["clips"] == []
    assert record["checks"]["no_audio"]


def test_a_sound_shorter_than_the_clip_is_mixed_before_it_is_looped(raw: Path) -> None:
    short = (0.1 * tone(0.25, hz=500)).astype(np.int16)
    write_clip(raw / "own.wav", video=False, audio_codec="pcm_s16le", sound=short)
    values, record = make(raw, config_of(0.0, clips=1), "b")
    own, other = values[8].astype(float).mean(), values[16].astype(float).mean()
    assert 10 / math.log(10) * (own - other) == pytest.approx(0, abs=0.3)
    assert record["checks"]["looped"]


def test_other_clips_are_cut_as_their_rows_say(raw: Path) -> None:
    both = np.concatenate([tone(1.0, hz=1000), tone(1.0, hz=1500)]) // 10
    write_clip(raw / "two.wav", video=False, audio_codec="pcm_s16le", sound=both)
    voices = (Voice(key="late", source="two.wav", start=1.0, end=2.0),)
    row = Row(key="own", label="l", split="train", sources={"audio": "own.wav"}, voices=voices)
    payload = SampleMaker(raw, config_of(0.0, clips=1)).make(row).payload
    values = np.load(io.BytesIO(payload["spectrogram"][0]))
    assert values[24].astype(float).mean() > values[16].astype(float).mean() + 3
    # A whole video, of which the other clip is the second second.
    whole = Voice(key="late", source="two.wav", listed=(1.0, 1.9))
    row = Row(key="own", label="l", split="train", sources={"audio": "own.wav"}, voices=(whole,))
    cut = SampleMaker(raw, config_of(0.0, clips=1)).make(row).payload
    values = np.load(io.BytesIO(cut["spectrogram"][0]))
    assert values[24].astype(float).mean() > values[16].astype(float).mean() + 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"babble_db": 61.0}, "audio.babble_db is -60 to 60"),
        ({"babble_db": float("nan")}, "audio.babble_db is -60 to 60"),
        ({"babble_clips": 0}, "audio.babble_clips is 1 to 32"),
    ],
)
def test_a_dial_that_makes_no_sense_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        AudioConfig(**settings)
