"""Reports of a build about clips that are new, absent, broken or named by a stranger."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mmprep.cli.main import main
from tests.support.media import write_clip


def mmprep(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def clip(path: Path) -> None:
    write_clip(path, seconds=1)


def build(raw: Path, out: Path, *more: object) -> Result:
    return mmprep("build", "--raw", raw, "--out", out, "--workers", 1, "--parts", "frames",
                  "--set", "frames.short_side=32", "--set", "clip_s=1", *more)  # fmt: skip


def manifest(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(["label,split,video", *rows]), encoding="utf-8")
    return path


def test_clips_that_arrive_after_a_build_are_announced_and_added_on_request(tmp_path):
    raw, out = tmp_path / "raw", tmp_path / "out"
    clip(raw / "cat/a.mp4")
    clip(raw / "dog/b.mp4")
    assert build(raw, out, "--dataset", "folder").exit_code == 0
    for name in ("cat/c.mp4", "dog/d.mp4", "dog/e.mp4"):
        clip(raw / name)
    done = build(raw, out, "--dataset", "folder")
    assert done.exit_code == 0, done.output
    assert "3 clips are new since this was planned; --extend adds them" in done.stderr
    done = build(raw, out, "--dataset", "folder", "--extend", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["run"]["added"] == 3
    assert json.loads(done.stdout)["samples"] == 5
    assert "new since" not in build(raw, out, "--dataset", "folder").stderr
    assert mmprep("verify", out).exit_code == 0


def test_an_extension_of_broken_clips_alone_is_exit_3(tmp_path):
    raw, out = tmp_path / "raw", tmp_path / "out"
    clip(raw / "cat/a.mp4")
    assert build(raw, out, "--dataset", "folder").exit_code == 0
    (raw / "cat/b.mp4").write_text("none")
    done = build(raw, out, "--dataset", "folder", "--extend")
    assert done.exit_code == 3, done.output
    assert "1 new clip read, and no sample from any" in done.stderr
    assert mmprep("verify", out).exit_code == 0


def test_a_build_in_which_every_clip_fails_is_exit_3_and_can_be_run_again(tmp_path):
    raw, out = tmp_path / "raw", tmp_path / "out"
    rows = [f"x,train,{n}.mp4" for n in range(4)]
    raw.mkdir()
    for n in range(4):
        (raw / f"{n}.mp4").write_text("none")
    given = ("--manifest", manifest(tmp_path / "m.csv", *rows))
    for more in ((), ("--max-failed", 1)):
        done = build(raw, out, *given, *more)
        assert done.exit_code == 3, done.output
        assert "none of 4 clips gave a sample (not-media 4)" in done.stderr
    for n in range(4):
        clip(raw / f"{n}.mp4")
    assert build(raw, out, *given).exit_code == 0


@pytest.fixture
def lossy(tmp_path):
    """Two cats, one broken dog, and nine dogs and a val split that were never downloaded."""
    raw, out = tmp_path / "raw", tmp_path / "out"
    clip(raw / "a.mp4")
    clip(raw / "b.mp4")
    (raw / "broken.mp4").write_text("none")
    gone = [f"dog,{'val' if n > 6 else 'train'},gone{n}.mp4" for n in range(9)]
    rows = ["cat,train,a.mp4", "cat,train,b.mp4", "dog,train,broken.mp4", *gone]
    done = build(raw, out, "--manifest", manifest(tmp_path / "m.csv", *rows))
    assert done.exit_code == 0, done.output
    return done, out


def test_absent_and_broken_clips_are_counted_apart(lossy, tmp_path):
    done, out = lossy
    assert "never downloaded" in done.stdout
    assert "failed, not-media" in done.stdout
    page = tmp_path / "page.html"
    summary = json.loads(mmprep("info", out, "--html", page, "--json").stdout)
    assert (summary["absent"], summary["broken"]) == (9, {"not-media": 1})
    text = mmprep("info", out).stdout
    assert "without a sample 1 that failed, 9 never downloaded" in text
    html = page.read_text(encoding="utf-8")
    assert "Clips that failed" in html
    assert "Clips that were never downloaded" in html


def test_a_class_and_a_split_that_lost_most_clips_are_named(lossy, tmp_path):
    done, out = lossy
    lines = ["split val: 0 of 2 clips", "split train: 2 of 10 clips", "class dog: 0 of 10 clips"]
    assert all(line in done.stdout for line in lines)
    assert "most files are absent: class dog" in done.stderr
    page = tmp_path / "page.html"
    summary = json.loads(mmprep("info", out, "--html", page, "--json").stdout)
    assert {"kind": "class", "name": "dog", "samples": 0, "listed": 10} in summary["losses"]
    assert all(line in page.read_text(encoding="utf-8") for line in lines)
    assert all(line in mmprep("info", out).stdout for line in lines)


def test_names_with_escapes_reach_neither_terminal_nor_page_raw(tmp_path):
    raw, out, page = tmp_path / "raw", tmp_path / "out", tmp_path / "page.html"
    name = "ca\x1b[2Jt\u202e"
    clip(raw / "a.mp4")
    (raw / "b\x1b[1m.mp4").write_text("none")
    table = manifest(tmp_path / "m.csv", f"{name},train,a.mp4", f"{name},test,b\x1b[1m.mp4")
    outputs = [build(raw, out, "--manifest", table, *more) for more in (["--dry-run"], [])]
    outputs += [mmprep("info", out, "--html", page), mmprep("info", out, "--json")]
    outputs += [mmprep("inspect", out, "--key", name, "--png", tmp_path / "a.png")]
    assert [done.exit_code for done in outputs] == [0, 0, 0, 0, 2]
    texts = [done.output for done in outputs] + [page.read_text(encoding="utf-8")]
    assert not any(letter in text for text in texts for letter in "\x1b\u202e")
    assert "ca\\x1b[2Jt\\u202e" in page.read_text(encoding="utf-8")


def test_whole_videos_are_counted_in_the_summary(tmp_path):
    raw, out = tmp_path / "raw", tmp_path / "out"
    write_clip(raw / "a.mp4", seconds=6)
    table = tmp_path / "m.csv"
    table.write_text("label,split,video,listed_start,listed_end\nx,train,a.mp4,3,4\n")
    done = build(raw, out, "--manifest", table, "--json")
    assert json.loads(done.stdout)["run"]["checks"]["whole_video"] == 1


@pytest.mark.parametrize("file", ["hash.csv", "nul.csv", "segments.csv"])
def test_reported_manifests_have_the_right_outcome(file, tmp_path):
    reports = Path(__file__).parents[4] / "shared/media/reports"
    if not reports.is_dir():
        pytest.skip("the reported files are not here")
    done = mmprep("build", "--manifest", reports / file, "--raw", reports, "--out",
                  tmp_path / "out", "--dry-run", "--json")  # fmt: skip
    if file == "nul.csv":
        assert done.exit_code == 3
        assert "line" in done.stderr
        assert "NUL" in done.stderr
        return
    assert done.exit_code == 0, done.output
    assert (
        sum(json.loads(done.stdout)["clips"].values()) == {"hash.csv": 1, "segments.csv": 2}[file]
    )
