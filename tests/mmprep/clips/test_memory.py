"""Memory of a decoding process: bounded, whatever the size that a clip claims."""

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import simplejpeg
from av.packet import Packet

from tests.support.media import tone, write_clip

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="measures memory by Linux's /proc"
)

PROGRAM = """
import sys
from pathlib import Path
from mmprep.clips.sample import SampleMaker
from mmprep.clips.worker import _keep_freed_memory, answer
from mmprep.config import FlowConfig, FrameConfig, PartsConfig
from mmprep.manifest import Row
_keep_freed_memory()
path, parts = Path(sys.argv[1]), tuple(sys.argv[3].split(","))
sources = {sys.argv[2]: path.name} | ({"depth": path.name} if "depth" in parts else {})
config = PartsConfig(names=parts, frames=FrameConfig(fps=10), flow=FlowConfig(fields=5))
row = Row(key="k", label="l", split="train", sources=sources)
outcome = answer(SampleMaker(path.parent, config), row)
# Not `ru_maxrss`, which begins with that of the parent.
status = Path("/proc/self/status").read_text()
peak_kb = status.partition("VmHWM:")[2].split()[0]
print(getattr(outcome, "cause", "sample"), int(peak_kb) >> 10)
"""


def outcome_of(path: Path, kind: str, parts: str) -> tuple[str, int]:
    """Outcome of a clip, and the most memory in MB that its process took."""
    command = [sys.executable, "-c", PROGRAM, str(path), kind, parts]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    word, peak = done.stdout.split()
    return word, int(peak)


@pytest.fixture(scope="module")
def clip_4k(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1.2 s at 3840 x 2160."""
    texture = np.random.default_rng(0).integers(0, 255, (34, 60, 3), dtype=np.uint8)
    still = np.kron(texture, np.ones((64, 64, 1), np.uint8))[:2160]
    path = tmp_path_factory.mktemp("4k") / "a.mp4"
    return write_clip(
        path,
        seconds=1.2,
        fps=25,
        size=(3840, 2160),
        codec="mpeg4",
        shows=lambda number: np.roll(still, 8 * number, axis=1),
    )


@pytest.mark.slow
@pytest.mark.parametrize("parts", ["frames,spectrogram", "frames,flow,difference", "depth"])
def test_a_4k_clip_stays_under_400_mb(clip_4k: Path, parts: str) -> None:
    outcome, peak = outcome_of(clip_4k, "video", parts)
    assert outcome == "sample"
    assert peak < 400


@pytest.fixture(scope="module")
def huge_jpeg() -> bytes:
    """A JPEG of a few hundred bytes whose header claims 65,500 x 65,500 pixels."""
    content = bytearray(simplejpeg.encode_jpeg(np.zeros((16, 16, 3), np.uint8)))
    at = content.index(b"\xff\xc0")
    content[at + 5 : at + 9] = (65_500).to_bytes(2, "big") * 2
    return bytes(content)


@pytest.mark.parametrize("suffix", ["avi", "mp4", "mkv"])
def test_huge_pictures_are_refused_before_they_are_decoded(
    tmp_path: Path, huge_jpeg: bytes, suffix: str
) -> None:
    with av.open(str(tmp_path / f"a.{suffix}"), "w") as container:
        stream = container.add_stream("mjpeg", rate=1)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuvj420p"
        for number in range(3):
            packet = Packet(huge_jpeg)
            packet.pts = packet.dts = number
            packet.time_base, packet.stream, packet.duration = Fraction(1), stream, 1
            container.mux(packet)
    outcome, peak = outcome_of(tmp_path / f"a.{suffix}", "video", "frames")
    assert outcome in ("too-large", "corrupt", "unsupported-codec")
    assert peak < 400


def png_of(width: int, height: int) -> bytes:
    head = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\0\0\0"
    return b"\x89PNG\r\n\x1a\n\0\0\0\x0d" + head + bytes(4)


def test_huge_images_are_refused_by_their_header(tmp_path: Path, huge_jpeg: bytes) -> None:
    bitmap = b"BM" + bytes(16) + (30_000).to_bytes(4, "little") * 2 + bytes(40)
    for name, content in (
        ("a.jpg", huge_jpeg),
        ("a.png", png_of(30_000, 30_000)),
        ("a.bmp", bitmap),
    ):
        (tmp_path / name).write_bytes(content)
        outcome, peak = outcome_of(tmp_path / name, "image", "frames")
        assert (name, outcome) == (name, "too-large")
        assert peak < 400


def test_sound_that_begins_days_later_takes_no_memory(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mkv", sound=tone(1), sound_at_s=3e5, audio_codec="pcm_s16le")
    outcome, peak = outcome_of(path, "video", "frames,spectrogram")
    assert outcome == "no-audio"
    assert peak < 400
