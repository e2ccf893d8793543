"""Data sets of pictures, texts and features from a CSV, where some clips lack a modality."""

import csv
import io
import json
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from webdataset.tariterators import group_by_keys, tar_file_expander

from mmprep.cli.main import main
from mmprep.shards import Shards
from mmprep.storage.store import LocalStore
from tests.support.media import picture

SPEC = """
title = "posts"
reader = "folder"
modalities = ["visual", "text", "speech"]
licence = "none"
optional = [{optional}]
[sources]
image = "any"
text = "any"
speech = "any"
[parts]
names = ["frames", "text", "speech"]
"""


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Three clips: one with all, one without a picture, one without features."""
    raw = tmp_path / "raw"
    raw.mkdir()
    np.savez(raw / "f.npz", a=np.ones((3, 2)), b=np.full((5, 2), np.nan))
    cv2.imwrite(str(raw / "a.png"), picture(0))
    cv2.imwrite(str(raw / "c.png"), picture(1))
    (raw / "b.txt").write_text("größer\n", encoding="utf-8")
    with (tmp_path / "list.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("key", "label", "split", "image", "text", "text_content", "speech"))
        table.writerow(("a", "x", "train", "a.png", "", "你好", "f.npz#a"))
        table.writerow(("b", "y", "train", "", "b.txt", "", "f.npz#b"))
        table.writerow(("c", "y", "train", "c.png", "", " a,\nb ", ""))
    return raw


def build(tmp_path: Path, *optional: str) -> tuple[int, str]:
    (tmp_path / "posts.toml").write_text(SPEC.format(optional=", ".join(map(repr, optional))))
    places = {"--dataset": "posts.toml", "--manifest": "list.csv", "--raw": "raw", "--out": "out"}
    flags = [part for flag, name in places.items() for part in (flag, str(tmp_path / name))]
    result = CliRunner().invoke(main, ["build", *flags, "--workers", "1", "--max-failed", "1"])
    return result.exit_code, result.output


def test_a_clip_may_lack_what_its_data_set_allows(raw: Path, tmp_path: Path) -> None:
    code, output = build(tmp_path, "image", "speech")
    assert code == 0, output
    out = tmp_path / "out"
    assert CliRunner().invoke(main, ["verify", str(out)]).exit_code == 0
    with Shards(LocalStore(out)) as shards:
        members = {key: shards.read(shards.index.find(key)) for key in "abc"}
        records = {key: json.loads(members[key]["json"][0]) for key in "abc"}
        assert shards.index.counts[shards.index.find("b")].tolist() == [1, 0, 1, 1]
    counts = {key: {part: len(members[key][part]) for part in members[key]} for key in "abc"}
    assert counts["a"] == {"json": 1, "frames": 1, "text": 1, "speech": 1}
    assert (counts["b"]["frames"], counts["c"]["speech"]) == (0, 0)
    texts = [members[key]["text"][0].decode() for key in "abc"]
    assert texts == ["你好", "größer\n", " a,\nb "]
    assert [records[key].get("missing") for key in "abc"] == [None, ["frames"], ["speech"]]
    assert records["b"]["checks"]["nonfinite"] == 10
    with tarfile.open(out / "train/000000.tar") as tar:
        assert "b.frame00.jpg" not in tar.getnames()


def test_other_programs_read_what_is_there(raw: Path, tmp_path: Path) -> None:
    assert build(tmp_path, "image", "speech")[0] == 0
    shard = tmp_path / "out/train/000000.tar"
    with shard.open("rb") as file:
        files = tar_file_expander([{"url": str(shard), "stream": file}])
        by_key = {sample["__key__"]: sample for sample in group_by_keys(files)}
    assert by_key["a"]["text.txt"].decode() == "你好"
    assert np.load(io.BytesIO(by_key["a"]["speech.npy"])).tolist() == [[1, 1]] * 3
    assert "frame00.jpg" not in by_key["b"]


def test_a_clip_that_lacks_more_fails_by_name(raw: Path, tmp_path: Path) -> None:
    assert build(tmp_path, "speech")[0] == 0
    (line,) = (tmp_path / "out/failures.jsonl").read_text().splitlines()
    failure = json.loads(line)
    assert (failure["key"], failure["cause"]) == ("b", "no-video")


def test_a_repair_still_knows_what_a_clip_may_lack(raw: Path, tmp_path: Path) -> None:
    text = (raw / "b.txt").read_bytes()
    (raw / "b.txt").write_bytes("größer".encode("latin-1"))
    assert build(tmp_path, "image", "speech")[0] == 0
    out = tmp_path / "out"
    failure = json.loads((out / "failures.jsonl").read_text())
    assert (failure["cause"], failure["row"]["lacking"]) == ("not-utf-8", ["image"])
    (raw / "b.txt").write_bytes(text)
    result = CliRunner().invoke(main, ["repair", str(out), "--workers", "1"])
    assert result.exit_code == 0, result.output
    with Shards(LocalStore(out)) as shards:
        row = shards.index.find("b")
        assert shards.record(row)["missing"] == ["frames"]
        assert shards.read(row, ["frames"]) == {"frames": []}
