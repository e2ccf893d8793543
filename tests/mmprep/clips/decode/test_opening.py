"""Files that are no clips although FFmpeg opens them, and modules loaded only on request."""

import subprocess
import sys
from pathlib import Path

import av
import pytest

from mmprep.clips.decode.clip import Clip
from mmprep.clips.decode.sniff import sniff
from mmprep.clips.parts.frames import jpeg
from mmprep.failure import CAUSES, ClipError
from tests.support.media import picture, write_clip

HLS = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nfile://{0}\n#EXT-X-ENDLIST\n"
CONCAT = "ffconcat version 1.0\nfile {0}\n"
DASH = '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"></MPD>'
SDP = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"


def cause_of(path: Path, *, sniffed: bool) -> str:
    with pytest.raises(ClipError) as caught:
        open_clip(path, sniffed=sniffed)
    return caught.value.cause


def open_clip(path: Path, *, sniffed: bool) -> None:
    if sniffed:
        sniff(path)
    Clip(path, None, 10.0, video=True, audio=True)


@pytest.mark.parametrize("suffix", [".mp4", ".m3u8", ".ts", ".ffconcat", ".sdp", ".mpd"])
@pytest.mark.parametrize("text", [HLS, CONCAT, DASH, SDP])
def test_a_playlist_is_no_clip(tmp_path: Path, text: str, suffix: str) -> None:
    secret = write_clip(tmp_path / "secret.mp4")
    path = tmp_path / f"list{suffix}"
    path.write_text(text.format(secret))
    assert cause_of(path, sniffed=True) == "playlist"
    # The format that FFmpeg settles on is refused as well, whatever the first bytes are.
    assert cause_of(path, sniffed=False) in ("playlist", "not-media")


def test_a_concat_list_that_hides_from_the_first_bytes_is_refused(tmp_path: Path) -> None:
    write_clip(tmp_path / "secret.mp4")
    path = tmp_path / "list.ffconcat"
    path.write_text("#" * 600 + "\nffconcat version 1.0\nfile secret.mp4\n")
    assert cause_of(path, sniffed=True) in ("playlist", "not-media")


def test_a_row_of_images_is_no_clip(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"a{number}.jpg").write_bytes(jpeg(picture(number), 90))
    assert cause_of(tmp_path / "a0.jpg", sniffed=True) == "playlist"
    assert cause_of(tmp_path / "a%d.jpg", sniffed=False) in ("playlist", "not-media")


def test_an_encrypted_mp4_is_named(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "a.mp4")
    keys = {
        "encryption_scheme": "cenc-aes-ctr",
        "encryption_key": "00112233445566778899aabbccddeeff",
        "encryption_kid": "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf",
    }
    target = tmp_path / "drm.mp4"
    with av.open(str(source)) as old, av.open(str(target), "w", container_options=keys) as new:
        streams = {s.index: new.add_stream_from_template(s) for s in old.streams}
        for packet in old.demux():
            if packet.size:
                packet.stream = streams[packet.stream.index]
                new.mux(packet)
    assert cause_of(target, sniffed=True) == "encrypted"
    assert "encrypted" in CAUSES


def test_decord_is_loaded_only_where_it_is_asked_for(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4")
    program = (
        "import sys; from pathlib import Path; import mmprep.clips.worker, mmprep.cli.main;"
        "from mmprep.clips.decode.clip import Clip;"
        f"clip = Clip(Path({str(tmp_path / 'a.mp4')!r}), None, None, video=True, audio=False);"
        "clip.pictures([1]); clip.__exit__(); print('decord' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr
