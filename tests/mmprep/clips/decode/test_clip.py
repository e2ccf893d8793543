from pathlib import Path

import numpy as np
import pytest

from mmprep.clips.decode.clip import Clip
from mmprep.clips.decode.sniff import sniff
from mmprep.failure import ClipError
from tests.support.media import number_of, tone, write_clip


def numbers(clip: Clip, wanted: list[int]) -> list[int]:
    found = clip.pictures(wanted)
    return [number_of(found[i]) for i in wanted]


@pytest.mark.parametrize("b_frames", [0, 2])
def test_pictures_are_those_of_their_times(tmp_path: Path, b_frames: int) -> None:
    path = write_clip(tmp_path / "a.mp4", b_frames=b_frames)
    with Clip(path, None, None, video=True, audio=False) as clip:
        assert clip.times.tolist() == pytest.approx([i / 10 for i in range(20)])
        assert numbers(clip, [3, 5, 19]) == [3, 5, 19]
        assert clip.duration_s == pytest.approx(2.0)


def test_skipping_pictures_changes_no_pixel(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", b_frames=3, size=(96, 64))
    with Clip(path, None, None, video=True, audio=False) as clip:
        everything = clip.pictures(range(20))
    with Clip(path, None, None, video=True, audio=False) as clip:
        for index, rgb in clip.pictures([4, 7, 13]).items():
            assert np.array_equal(rgb, everything[index])


def test_variable_frame_rate_keeps_its_times(tmp_path: Path) -> None:
    stamps = [0, 100, 200, 900, 950, 1000, 1400, 1900]
    path = write_clip(tmp_path / "vfr.mp4", stamps_ms=stamps, seconds=2)
    with Clip(path, None, None, video=True, audio=False) as clip:
        assert clip.times.tolist() == pytest.approx([s / 1000 for s in stamps], abs=1e-3)
        assert numbers(clip, [2, 3, 7]) == [2, 3, 7]


def test_avi_frames_are_evenly_spaced(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.avi", b_frames=2)
    with Clip(path, None, None, video=True, audio=False) as clip:
        assert clip.times.tolist() == pytest.approx([i / 10 for i in range(20)])
        assert numbers(clip, [0, 11, 19]) == [0, 11, 19]


@pytest.mark.parametrize("start", [0.5, 40.5])
def test_span_starts_at_second_zero(tmp_path: Path, start: float) -> None:
    seconds = start + 2
    ramp = np.repeat(np.arange(round(seconds * 10)) * 80, 1600).astype(np.int16)
    path = write_clip(tmp_path / "long.mkv", seconds=seconds, sound=ramp, audio_codec="pcm_s16le")
    with Clip(path, start, start + 1, video=True, audio=True) as clip:
        assert clip.times.tolist() == pytest.approx([i / 10 for i in range(10)], abs=2e-3)
        assert numbers(clip, [0, 9]) == [round(start * 10) % 40, round(start * 10 + 9) % 40]
        wave = clip.sound(16_000)
    assert len(wave) == 16_000
    assert wave[100] * 32768 == pytest.approx(round(start * 10) * 80, abs=1)


def test_sound_is_mono_at_the_rate_asked_for(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", sound=tone(2.0, 44_100), rate=44_100)
    with Clip(path, None, None, video=False, audio=True) as clip:
        wave = clip.sound(16_000)
    spectrum = np.abs(np.fft.rfft(wave[:16_000]))
    assert int(spectrum.argmax()) == 1000
    assert np.abs(wave[8_000:16_000]).max() == pytest.approx(0.5, abs=0.05)


def test_late_sound_is_moved_to_its_time(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "late.mkv", sound_at_s=0.5, audio_codec="pcm_s16le")
    with Clip(path, None, None, video=True, audio=True) as clip:
        wave = clip.sound(16_000)
    assert not wave[:7_990].any()
    assert np.abs(wave[8_010:8_400]).max() == pytest.approx(0.5, abs=0.01)


def test_sound_file_has_no_pictures(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.m4a", video=False)
    with Clip(path, None, None, video=False, audio=True) as clip:
        assert not len(clip.times)
        assert clip.duration_s == pytest.approx(2.0, abs=0.1)
    with pytest.raises(ClipError, match="no picture stream") as caught:
        Clip(path, None, None, video=True, audio=True)
    assert caught.value.cause == "no-video"


def test_decord_gives_the_same_pixels_where_it_is_trusted(tmp_path: Path) -> None:
    pytest.importorskip("decord")
    path = write_clip(tmp_path / "a.mp4", b_frames=2)
    with Clip(path, None, None, video=True, audio=False, decoder="decord") as clip:
        by_decord = clip.pictures([2, 9])
        assert clip.decoder == "decord"
    with Clip(path, None, None, video=True, audio=False) as clip:
        by_pyav = clip.pictures([2, 9])
    assert all(np.array_equal(by_decord[i], by_pyav[i]) for i in (2, 9))


def test_decord_is_not_asked_where_it_knows_no_times(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.avi", b_frames=2)
    with Clip(path, None, None, video=True, audio=False, decoder="decord") as clip:
        assert numbers(clip, [7]) == [7]
        assert clip.decoder == "pyav"


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"", "empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "lfs-pointer"),
        (b"\n <!DOCTYPE html><html><body>404</body></html>", "html-page"),
        (
            b"\x00\x00\x00\x18ftypisom" + bytes(12) + b"\x00\x00\xff\xffmdat" + bytes(99),
            "truncated",
        ),
    ],
)
def test_what_is_no_media_is_recognised(tmp_path: Path, data: bytes, cause: str) -> None:
    path = tmp_path / "x.mp4"
    path.write_bytes(data)
    with pytest.raises(ClipError) as caught:
        sniff(path)
    assert caught.value.cause == cause


def test_text_is_not_media(tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    path.write_text("just some words\n" * 50)
    sniff(path)
    with pytest.raises(ClipError) as caught:
        Clip(path, None, None, video=True, audio=False)
    assert caught.value.cause == "not-media"


def test_half_a_file_is_truncated(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", seconds=6, faststart=True)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ClipError) as caught:
        Clip(path, None, None, video=True, audio=True)
    assert caught.value.cause == "truncated"


def test_a_span_before_the_break_is_whole(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", seconds=6, faststart=True)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with Clip(path, None, 1.0, video=True, audio=True) as clip:
        assert numbers(clip, [0, 9]) == [0, 9]
