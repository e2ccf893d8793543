"""Real clips, odd ones and broken ones, where a folder of them lies beside the project."""

import gc
import io
import json
from pathlib import Path

import numpy as np
import pytest
import webdataset as wds
from click.testing import CliRunner

from mmprep.cli.main import main
from mmprep.shards import Shards
from mmprep.storage.store import LocalStore

SHARED = Path(__file__).parents[4] / "shared"
MEDIA = SHARED / "media"
pytestmark = pytest.mark.skipif(not MEDIA.is_dir(), reason="no folder of real clips here")

# What each odd or broken file must end as: a sample, or a failure of this cause.
EXPECTED = {
    "bad/audio_only.mp4": "no-video",
    "bad/bitflips.mp4": "corrupt",
    "bad/invalid-codec.webm": "unsupported-codec",
    "bad/one_frame.mp4": "too-short",
    "bad/redbull_100kbit_dash.mp4": "no-video",
    "bad/silent_audio.mp4": "sample",
    "bad/text_renamed.mp4": "not-media",
    "bad/truncated.mp4": "truncated",
    "bad/truncated_faststart.mp4": "truncated",
    "bad/video_only.mp4": "no-audio",
    "bad/zero_byte.mp4": "empty",
    "odd/MOV00006.3gp": "sample",
    "odd/av1_video.mkv": "no-audio",
    "odd/h264_10bits.mp4": "no-audio",
    "odd/h265_video.mp4": "no-audio",
    "odd/indeo4_1s.avi": "no-audio",
    "odd/nasa_13013_multistream.mp4": "sample",
    "odd/rotated90.mp4": "sample",
    "odd/surround6ch_60fps.mp4": "sample",
    "odd/theora_test.ogv": "sample",
    "odd/vfr_baseball.mp4": "sample",
}


def build(out: Path, *words: object) -> Shards:
    command = ["build", "--out", out, "--max-failed", 1, *words]
    done = CliRunner().invoke(main, [str(word) for word in command])
    assert done.exit_code == 0, done.output
    verified = CliRunner().invoke(main, ["verify", str(out)])
    assert verified.exit_code == 0, verified.output
    return Shards(LocalStore(out))


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    return build(tmp_path_factory.mktemp("real") / "o", "--dataset", "folder", "--raw", MEDIA)


@pytest.fixture(scope="module")
def records(shards: Shards) -> dict[str, dict[str, object]]:
    found = (shards.record(row) for row in range(len(shards.index)))
    return {record["sources"]["video"]: record for record in found}


@pytest.mark.slow
def test_every_odd_and_broken_file_ends_as_it_should(
    shards: Shards, records: dict[str, dict[str, object]]
) -> None:
    failures = [json.loads(line) for line in shards.store.read("failures.jsonl").splitlines()]
    ended = {failure["source"]: failure["cause"] for failure in failures}
    ended |= dict.fromkeys(records, "sample")
    assert {source: ended.get(source) for source in EXPECTED} == EXPECTED


@pytest.mark.slow
def test_ten_seconds_give_ten_frames_and_257_by_1004(
    shards: Shards, records: dict[str, dict[str, object]]
) -> None:
    key = str(records["vggsound/M1pPtg6a_g8_000230.mp4"]["key"])
    parts = shards.read(shards.index.find(key))
    assert len(parts["frames"]) == 10
    assert np.load(io.BytesIO(parts["spectrogram"][0])).shape == (257, 1004)


@pytest.mark.slow
def test_frames_of_an_edited_clip_are_on_time(records: dict[str, dict[str, object]]) -> None:
    # Its edit list drops 16 frames: a reader that counts frames is half a second late.
    times = records["odd/vfr_baseball.mp4"]["times_s"]
    assert times == pytest.approx([0.5, 1.468, 2.469, 3.47, 4.471, 5.472], abs=2e-3)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # webdataset's own
def test_webdataset_reads_the_shards(shards: Shards) -> None:
    assert isinstance(shards.store, LocalStore)
    paths = [str(shards.store.root / shard.name) for shard in shards.dataset.shards]
    samples = list(wds.WebDataset(paths, shardshuffle=False, empty_check=False))
    assert [s["__key__"] for s in samples] == [key.decode() for key in shards.index.key]
    assert all(s["spectrogram.npy"].startswith(b"\x93NUMPY") for s in samples)
    gc.collect()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dataset", "raw", "lists", "samples", "words"),
    [
        ("kinetics-sounds", "kinetics", "", 1, ()),
        ("vggsound", "vggsound", "vggsound", 4, ()),
        ("ucf-101", "ucf101", "ucf101", 3, ()),
        ("ucf-101-three", "ucf101", "ucf101", 3, ()),
        ("nvgesture", "nvgesture", "nvgesture", 1, ()),
        ("nvgesture", "nvgesture", "nvgesture", 8, ("--parts", "depth")),
    ],
)
def test_official_layouts_build(
    tmp_path: Path, dataset: str, raw: str, lists: str, samples: int, words: tuple[str, ...]
) -> None:
    annotations = SHARED / "annotations" / lists
    shards = build(
        tmp_path / "o",
        "--dataset",
        dataset,
        "--raw",
        MEDIA / raw,
        "--annotations",
        annotations,
        *words,
    )
    assert len(shards.index) == samples
    if dataset == "nvgesture":
        assert shards.index.counts[0, 1:].tolist() == [80] * (len(shards.index.parts) - 1)
