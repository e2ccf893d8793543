"""Clocks that restart, files without times, and spans far from the beginning."""

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmprep.clips.decode.clip import Clip
from mmprep.clips.decode.clock import Clock, avi_slots, common_offsets_s, delay_hole
from tests.support.media import number_of, picture, write_clip
from tests.support.remux import beep_times, beeps, interleave


def numbers_at(clip: Clip, *instants: float) -> list[int]:
    """Numbers of the pictures on display at ``instants``."""
    wanted = [int((clip.times <= at + 1e-3).sum()) - 1 for at in instants]
    shown = clip.pictures(sorted(set(wanted)))
    return [number_of(shown[i]) for i in wanted]


def test_a_clock_that_falls_back_goes_on_by_hand() -> None:
    # Ticks of 0.1 s: after 19 (which lasts to 20) the stamps begin at 3 again, so 17 are added.
    clock = Clock(0.1)
    seconds_read = [clock.unwrap_s(stamp, 1) for stamp in (17, 18, 19, 3, 4)]
    assert seconds_read == pytest.approx([1.7, 1.8, 1.9, 2.0, 2.1])
    assert clock.offsets_s == pytest.approx([0.0, 1.7])


def test_all_streams_take_the_offset_of_the_first() -> None:
    pictures, sound = Clock(0.1), Clock(0.1)
    pictures.offsets_s, sound.offsets_s = [0.0, 4.0], [0.0, 4.04, 7.0]
    assert common_offsets_s([pictures, sound]) == [0.0, 4.0, 7.0]


def test_slots_of_an_avi_by_hand() -> None:
    assert avi_slots([0, 1, 2, 5, 6], delay=0, hole=0) == [0, 1, 2, 5, 6]
    # Decoding order I P B B, all chunks full: the order of display fills the slots.
    assert avi_slots([0, 1, 2, 3], delay=1, hole=0) == [0, 1, 2, 3]
    # One empty chunk behind the first is the encoder's delay, and no gap.
    assert delay_hole([0, 2, 3]) == 1
    assert avi_slots([0, 2, 3, 4], delay=0, hole=1) == [0, 1, 2, 3]
    assert delay_hole([0, 50, 51]) == 0


@given(st.sets(st.integers(0, 200), min_size=1), st.integers(0, 3))
def test_slots_ascend(chunks: set[int], delay: int) -> None:
    ordered = sorted(chunks)
    slots = avi_slots(ordered, delay, delay_hole(ordered))
    assert len(slots) == len(ordered)
    assert all(a < b for a, b in pairwise(slots))


def joined(tmp_path: Path, suffix: str, **options: object) -> Path:
    """Two clips of 3 s behind each other: pictures 0 to 29 and 10 to 39."""
    parts = []
    for first in (0, 10):
        path = tmp_path / f"{first}{suffix}"
        write_clip(
            path,
            seconds=3,
            sound=beeps(3),
            rate=48_000,
            shows=lambda number, first=first: picture(number + first),  # type: ignore[misc]
            **options,  # type: ignore[arg-type]
        )
        parts.append(path.read_bytes())
    target = tmp_path / f"joined{suffix}"
    target.write_bytes(b"".join(parts))
    return target


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        (".ts", {"b_frames": 2}),
        (".mpg", {"codec": "mpeg2video", "audio_codec": "mp2", "fps": 25}),
    ],
)
def test_joined_streams_keep_pictures_and_sound_in_step(
    tmp_path: Path, suffix: str, options: dict[str, object]
) -> None:
    path = joined(tmp_path, suffix, **options)
    fps = int(str(options.get("fps", 10)))
    with Clip(path, None, 10.0, video=True, audio=True) as clip:
        assert clip.duration_s == pytest.approx(6.0, abs=0.1)
        assert (clip.times[1:] > clip.times[:-1]).all()
        # The second half begins at picture 10.
        shown = numbers_at(clip, 0.51, 3.51)
        assert shown == [fps // 2, (fps // 2 + 10) % 40]
        times = beep_times(clip.sound(16_000))
    assert times == [pytest.approx(k + 0.5, abs=0.03) for k in range(6)]


def test_sound_alone_has_the_clock_of_the_pictures(tmp_path: Path) -> None:
    path = joined(tmp_path, ".ts")
    with Clip(path, None, 10.0, video=True, audio=True) as clip:
        both = clip.sound(16_000)
    with Clip(path, None, 10.0, video=False, audio=True) as clip:
        assert beep_times(clip.sound(16_000)) == beep_times(both)


def write_avi(path: Path, numbers: list[int], sound_s: float) -> Path:
    """An AVI at 10 fps with the pictures ``numbers`` at their tenths, and empty chunks between."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.bit_rate = 8_000_000
        speech = container.add_stream("pcm_s16le", rate=48_000, layout="mono")
        for number in numbers:
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        frame = av.AudioFrame.from_ndarray(beeps(sound_s)[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, 0, Fraction(1, 48_000)
        container.mux(speech.encode(frame))
        container.mux(speech.encode(None))
    return path


@pytest.mark.parametrize(("first", "last"), [(20, 25), (20, 39), (3, 60)])
def test_empty_chunks_of_an_avi_keep_the_picture_before(
    tmp_path: Path, first: int, last: int
) -> None:
    numbers = [i for i in range(80) if not first <= i <= last]
    path = write_avi(tmp_path / "a.avi", numbers, 8)
    with Clip(path, None, 10.0, video=True, audio=True) as clip:
        assert clip.duration_s == pytest.approx(8.0)
        before = first - 1
        shown = numbers_at(clip, first / 10 + 0.05, last / 10 + 0.05, last / 10 + 0.15)
        assert shown == [before, before, (last + 1) % 40]


def test_empty_chunks_at_the_end_of_an_avi_are_no_truncation(tmp_path: Path) -> None:
    path = write_avi(tmp_path / "a.avi", [*range(38), 79], 8)
    with Clip(path, None, 7.0, video=True, audio=True) as clip:
        assert clip.duration_s == pytest.approx(7.0)
        assert numbers_at(clip, 6.5) == [37]


@pytest.fixture(scope="module", params=["avi", "ts", "mpg", "mkv", "mp4"])
def long_clip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """75 s with a key picture every 25 s or so."""
    folder = tmp_path_factory.mktemp("long")
    mpeg = request.param == "mpg"
    path = write_clip(
        folder / f"apart.{'mp4' if request.param in ('ts', 'mp4') else request.param}",
        seconds=75,
        fps=25 if mpeg else 10,
        codec="mpeg2video" if mpeg else "libx264",
        b_frames=2,
        sound=beeps(75),
        rate=48_000,
        audio_codec={"avi": "pcm_s16le", "mpg": "mp2", "mkv": "flac"}.get(request.param, "aac"),
    )
    # FFmpeg's writer of MPEG program streams interleaves by itself.
    return path if mpeg else interleave(path, folder / f"a.{request.param}")


@pytest.mark.parametrize("start", [31.0, 70.3])
def test_spans_far_from_the_beginning_are_exact(long_clip: Path, start: float) -> None:
    instants = (0.51, 1.51, 2.51)
    with Clip(long_clip, start, start + 3, video=True, audio=True) as clip:
        shown = numbers_at(clip, *instants)
        times = [t for t in beep_times(clip.sound(16_000)) if 0.05 < t < 2.95]
        assert clip.damaged == 0
        fps = round(clip.fps)
    assert shown == [int((start + at) * fps) % 40 for at in instants]
    with Clip(long_clip, None, None, video=True, audio=True) as clip:
        assert numbers_at(clip, *(start + at for at in instants)) == shown
        whole = [t - start for t in beep_times(clip.sound(16_000))]
    assert times == [pytest.approx(t, abs=5e-3) for t in whole if 0.05 < t < 2.95]
    assert len(times) >= 2


def bytes_read_by(path: Path, end: float) -> int:
    lines = Path("/proc/self/io").read_text().splitlines()
    before = int(dict(line.split(": ") for line in lines)["rchar"])
    with Clip(path, None, end, video=True, audio=True) as clip:
        assert clip.has_audio
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["rchar"]) - before


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="counts bytes by Linux's /proc")
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_a_stream_that_ends_early_does_not_make_the_rest_be_read(tmp_path: Path, name: str) -> None:
    # The sound ends after 2 s, the pictures go on for a minute.
    apart = write_clip(
        tmp_path / f"apart-{name}",
        seconds=60,
        sound=beeps(2),
        rate=48_000,
        size=(320, 240),
        codec="mpeg4",
    )
    path = interleave(apart, tmp_path / name)
    bytes_read_by(path, 3.0)  # loads what is loaded once
    assert bytes_read_by(path, 3.0) < path.stat().st_size / 3
