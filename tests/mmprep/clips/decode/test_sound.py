"""Sound is placed by its time stamps, from whichever second the clip begins."""

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from av.packet import Packet

from mmprep.clips.decode.clip import Clip
from mmprep.failure import ClipError
from tests.support.media import tone, write_clip
from tests.support.remux import beep_times, beeps, garbled, remux, seconds


@pytest.fixture(scope="module")
def beeping(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "a.mp4"
    return write_clip(path, seconds=8, sound=beeps(8), rate=48_000)


def wave_of(path: Path, start: float | None = None, end: float | None = None) -> np.ndarray:
    with Clip(path, start, end, video=False, audio=True) as clip:
        return clip.sound(16_000)


def near(*times: float) -> list[object]:
    return [pytest.approx(time, abs=5e-3) for time in times]


def test_a_gap_in_the_stamps_is_silence(beeping: Path, tmp_path: Path) -> None:
    def without_middle(packet: Packet) -> Packet | None:
        return None if packet.stream.type == "audio" and 3 <= seconds(packet) < 5 else packet

    path = remux(beeping, tmp_path / "gap.mp4", without_middle)

    assert beep_times(wave_of(path)) == near(0.5, 1.5, 2.5, 5.5, 6.5, 7.5)
    assert not wave_of(path)[50_000:79_000].any()
    assert beep_times(wave_of(path, 4.0, 7.0)) == near(1.5, 2.5)


def test_packets_that_do_not_decode_are_silence_of_their_length(
    beeping: Path, tmp_path: Path
) -> None:
    def damaged(packet: Packet) -> Packet:
        here = packet.stream.type == "audio" and 3.1 <= seconds(packet) < 3.6
        return garbled(packet) if here else packet

    path = remux(beeping, tmp_path / "bad.mp4", damaged)
    with Clip(path, None, None, video=False, audio=True) as clip:
        wave = clip.sound(16_000)
        assert 20 < clip.damaged < 26

    assert beep_times(wave) == near(0.5, 1.5, 2.5, 4.5, 5.5, 6.5, 7.5)


def test_an_overlap_is_cut(tmp_path: Path) -> None:
    path, sound = tmp_path / "a.mkv", beeps(8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=48_000, layout="mono")
        for at in range(0, len(sound), 24_000):
            piece = np.ascontiguousarray(sound[None, at : at + 24_000])
            frame = av.AudioFrame.from_ndarray(piece, format="s16", layout="mono")
            frame.sample_rate, frame.time_base = 48_000, Fraction(1, 48_000)
            # From the fourth second on, all is 0.3 s early.
            frame.pts = at - (14_400 if at >= 4 * 48_000 else 0)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))

    assert beep_times(wave_of(path)) == near(0.5, 1.5, 2.5, 3.5, 4.2, 5.2, 6.2, 7.2)


@pytest.mark.parametrize("delay_s", [0.03, 0.09, 0.3])
@pytest.mark.parametrize("start", [None, 1.2])
def test_a_delay_is_a_delay_from_any_start(
    tmp_path: Path, delay_s: float, start: float | None
) -> None:
    path = tmp_path / "late.mkv"
    sound = beeps(4)
    write_clip(
        path, seconds=4, sound=sound, rate=48_000, audio_codec="pcm_s16le", sound_at_s=delay_s
    )

    middles = [k + 0.5 + delay_s - (start or 0) for k in range(4)]

    assert beep_times(wave_of(path, start)) == near(*(m for m in middles if m > 0))


def test_the_priming_of_a_codec_is_no_delay(beeping: Path) -> None:
    assert beep_times(wave_of(beeping)) == near(*(k + 0.5 for k in range(8)))


def test_stamps_that_are_a_frame_off_and_come_back_change_no_sample(
    beeping: Path, tmp_path: Path
) -> None:
    numbers = iter(range(10_000))

    def jittering(packet: Packet) -> Packet:
        # As in clips that were cut from live streams: two of ten packets are up to 20 ms early.
        if packet.stream.type == "audio":
            shift = {3: 480, 4: 960}.get(next(numbers) % 10, 0)
            assert packet.pts is not None
            packet.pts -= shift
            packet.dts = packet.pts
        return packet

    steady = remux(beeping, tmp_path / "steady.nut", lambda packet: packet)
    path = remux(beeping, tmp_path / "jitter.nut", jittering)

    np.testing.assert_array_equal(wave_of(path), wave_of(steady))


def write_two_layouts(path: Path) -> None:
    """Two seconds of stereo, then two of mono, each in MPEG-TS packets of one stream."""
    with av.open(str(path), "w", format="mpegts") as container:
        stream = container.add_stream("aac", rate=48_000, layout="stereo")
        for part, layout in enumerate(("stereo", "mono")):
            encoder = av.CodecContext.create("aac", "w")
            encoder.sample_rate, encoder.layout, encoder.format = 48_000, layout, "fltp"
            encoder.time_base = Fraction(1, 48_000)
            channels = 2 if layout == "stereo" else 1
            sound = np.tile(beeps(2) / np.float32(32768), (channels, 1)).astype(np.float32)
            packets = []
            for at in range(0, sound.shape[1], 1024):
                piece = np.ascontiguousarray(sound[:, at : at + 1024])
                frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout=layout)
                frame.sample_rate, frame.pts = 48_000, at + 96_000 * part
                frame.time_base = Fraction(1, 48_000)
                packets += encoder.encode(frame)
            for packet in packets:
                # ADTS: seven bytes in front of each packet name rate and channels.
                size = packet.size + 7
                first = [0xFF, 0xF1, 0x4C | channels >> 2, (channels & 3) << 6 | size >> 11]
                header = bytes([*first, size >> 3 & 255, (size & 7) << 5 | 31, 0xFC])
                copy = Packet(header + bytes(packet))
                copy.pts = copy.dts = packet.pts
                copy.time_base, copy.stream = Fraction(1, 48_000), stream
                container.mux(copy)


def test_a_stream_that_turns_mono_is_read_on(tmp_path: Path) -> None:
    write_two_layouts(tmp_path / "a.ts")
    times = beep_times(wave_of(tmp_path / "a.ts"))
    assert [b - a for a, b in pairwise(times)] == near(1, 1, 1)


def test_adpcm_spans_begin_where_they_should(tmp_path: Path) -> None:
    write_clip(
        tmp_path / "a.wav",
        video=False,
        audio_codec="adpcm_ima_wav",
        sound=beeps(40, 8000),
        rate=8000,
    )
    assert beep_times(wave_of(tmp_path / "a.wav", 32.3, 36.3)) == near(0.2, 1.2, 2.2, 3.2)


@pytest.mark.parametrize("at_s", [1000.0, 300_000.0])
def test_sound_that_begins_after_the_clip_is_none(tmp_path: Path, at_s: float) -> None:
    path = write_clip(tmp_path / "a.mkv", sound=tone(1), sound_at_s=at_s, audio_codec="pcm_s16le")
    with Clip(path, None, 10.0, video=True, audio=True) as clip:
        assert not clip.has_audio or not len(clip.sound(16_000))


def test_sound_without_an_end_has_a_bound(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mkv", sound=tone(1), sound_at_s=3e5, audio_codec="pcm_s16le")
    with (
        Clip(path, None, None, video=True, audio=True) as clip,
        pytest.raises(ClipError) as caught,
    ):
        clip.sound(16_000)
    assert caught.value.cause == "too-large"
