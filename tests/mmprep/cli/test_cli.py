import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mmprep import Shards, open_store
from mmprep.cli.main import main
from tests.support.builds import WAIT_S, opened
from tests.support.media import write_clip


def mmprep(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of two clips each, one file that is none, and a manifest of all."""
    raw = tmp_path_factory.mktemp("raw")
    lines = ["label,split,video"]
    for number in range(4):
        name = f"{'été' if number % 2 else 'a, b'}/clip{number}.mp4"
        write_clip(raw / name, seconds=1)
        label = "été" if number % 2 else '"a, b"'
        lines.append(f'{label},{"train" if number < 3 else "test"},"{name}"')
    (raw / "page.mp4").write_text("<!doctype html>")
    lines.append("été,train,page.mp4")
    (raw / "clips.csv").write_text("\n".join(lines), encoding="utf-8")
    return raw


def flags(raw: Path, out: Path) -> list[object]:
    return ["--manifest", raw / "clips.csv", "--raw", raw, "--out", out, "--workers", 1,
            "--set", "frames.short_side=32", "--set", "clip_s=1"]  # fmt: skip


@pytest.fixture(scope="module")
def built(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "shards"
    done = mmprep("build", *flags(raw, out))
    assert done.exit_code == 0, done.output
    return out


def test_build_prints_what_it_made(raw: Path, tmp_path: Path) -> None:
    done = mmprep("build", *flags(raw, tmp_path / "o"), "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["splits"] == {"train": 3, "test": 1}
    assert report["failures"] == {"html-page": 1}
    assert report["run"]["clips"] == 5
    assert {"open", "video", "audio", "spectrogram"} <= set(report["run"]["seconds_by_stage"])
    again = mmprep("build", *flags(raw, tmp_path / "o"))
    assert again.exit_code == 0
    assert "nothing to do" in again.stdout


def test_a_dry_run_of_an_extension_sums_up_what_is_new(
    raw: Path, built: Path, tmp_path: Path
) -> None:
    before = sorted(built.rglob("*"))
    words = ("build", *flags(raw, built), "--extend", "--dry-run")
    unchanged = mmprep(*words)
    assert unchanged.exit_code == 0, unchanged.output
    assert "no new clips; 4 samples in 2 shards stay as they are" in unchanged.stdout
    # In a copy, for other tests build from the same clips.
    raw = Path(shutil.copytree(raw, tmp_path / "raw"))
    write_clip(raw / "a, b/late.mp4", seconds=1)
    # Of the same name, which is that of the data set.
    more = raw / "later/clips.csv"
    more.parent.mkdir()
    more.write_text(
        (raw / "clips.csv").read_text("utf-8") + '\n"a, b",test,"a, b/late.mp4"\n', "utf-8"
    )
    words = ("build", *flags(raw, built)[2:], "--manifest", more, "--extend", "--dry-run")
    planned = mmprep(*words)
    assert planned.exit_code == 0, planned.output
    (line,) = planned.stdout.splitlines()
    assert "1 new clip (test 1) in 1 new shard (test/000001); 4 samples in 2 shards stay" in line
    report = json.loads(mmprep(*words, "--json").stdout)
    assert report["new"] == {"clips": {"test": 1}, "shards": ["test/000001"], "absent": 0}
    assert report["there"]["samples"] == 4
    assert sorted(built.rglob("*")) == before


def test_dry_run_writes_nothing(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "o"
    done = mmprep("build", *flags(raw, out), "--dry-run", "--json")
    assert done.exit_code == 0, done.output
    plain = json.loads(done.stdout)
    assert plain["shards"] == ["train/000000", "test/000000"]
    assert plain["splits"]["test"]["found"] == plain["clips"]["test"]
    text = mmprep("build", *flags(raw, out), "--dry-run").stdout
    assert "nothing was written" in text
    assert "estimated from" in text
    assert not out.exists()


def test_an_estimate_is_near_what_the_build_takes(
    raw: Path, built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmprep.build.estimate._ENOUGH_S", 1e9)
    words = ("build", *flags(raw, tmp_path / "o"), "--dry-run", "--json")
    likely = json.loads(mmprep(*words).stdout)["estimate"]
    shards = sum(path.stat().st_size for path in built.rglob("*.tar"))
    # Each of the two shards ends with blocks of zeros, up to 10 KB.
    assert likely["bytes"] == pytest.approx(shards, abs=20_480)
    assert (likely["prepared"], likely["failed"], likely["workers"]) == (5, 1, 1)
    assert likely["seconds"] == pytest.approx(5 * likely["seconds_a_clip"])
    assert likely["memory_a_worker"] > 20e6


def test_parameters_are_those_that_set_takes() -> None:
    known = json.loads(mmprep("parameters", "--json").stdout)["parameters"]
    by_name = {each["name"]: each for each in known}
    assert by_name["frames.fps"]["default"] == 1.0
    assert by_name["audio.babble_db"]["default"] is None
    assert by_name["spectrogram.recipe"]["parts"] == ["spectrogram"]
    assert all(each["help"] for each in known)
    refused = mmprep(*FOLDER, ".", "--set", "no.such=1")
    assert refused.exit_code == 2
    text = mmprep("parameters", "av-mnist").stdout
    assert "frames.short_side" in text
    assert {"names", "missing_audio"}.isdisjoint(by_name)


def test_verify_info_and_inspect(built: Path, tmp_path: Path) -> None:
    verdict = json.loads(mmprep("verify", built, "--json").stdout)
    assert (verdict["ok"], verdict["samples"], verdict["problems"]) == (True, 4, [])
    assert "all good" in mmprep("verify", built).stdout

    page = tmp_path / "page.html"
    done = mmprep("info", built, "--html", page, "--json")
    assert json.loads(done.stdout)["classes"]["a, b"] == {"train": 2, "test": 0}
    assert "été" in page.read_text(encoding="utf-8")
    assert "été" in mmprep("info", built).stdout

    png = tmp_path / "a.png"
    assert mmprep("inspect", built, "--png", png).exit_code == 0
    assert png.read_bytes().startswith(b"\x89PNG")


def test_a_flipped_byte_is_exit_3_with_one_json_object(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "o"
    mmprep("build", *flags(raw, out))
    tar = out / "test/000000.tar"
    data = bytearray(tar.read_bytes())
    data[600] ^= 1
    tar.write_bytes(data)
    done = mmprep("verify", out, "--json")
    assert done.exit_code == 3
    verdict = json.loads(done.stdout)
    assert not verdict["ok"]
    assert [p["path"] for p in verdict["problems"]] == ["test/000000.tar"]
    assert "1 problem." in done.stderr


def test_repair_takes_in_what_was_mended(raw: Path, tmp_path: Path) -> None:
    mended, out = tmp_path / "raw", tmp_path / "o"
    mmprep("build", *flags(raw, out))
    for name in ("été", "a, b", "clips.csv"):
        mended.mkdir(exist_ok=True)
        (mended / name).symlink_to(raw / name)
    write_clip(mended / "page.mp4", seconds=1)
    done = mmprep("repair", out, "--raw", mended, "--workers", 1, "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert (report["tried"], report["mended"], report["failures"]) == (1, 1, {})
    assert mmprep("verify", out).exit_code == 0
    assert "tried 0 clips" in mmprep("repair", out, "--raw", mended).stdout


def test_manifest_is_what_build_takes(raw: Path, tmp_path: Path) -> None:
    csv = tmp_path / "m.csv"
    done = mmprep("manifest", "--dataset", "folder", "--raw", raw, "--out", csv, "--json")
    assert done.exit_code == 0, done.output
    assert sum(json.loads(done.stdout)["clips"].values()) == 4
    planned = mmprep("build", "--manifest", csv, "--raw", raw, "--out", tmp_path / "o", "--dry-run")
    assert planned.exit_code == 0


def test_datasets_lists_all_of_them() -> None:
    listed = json.loads(mmprep("datasets", "--json").stdout)["datasets"]
    names = {entry["name"] for entry in listed}
    assert names >= {"kinetics-sounds", "crema-d", "vggsound", "ucf-101", "ucf-101-three", "ave",
                     "nvgesture", "av-mnist", "keypad", "folder"}  # fmt: skip
    assert "kinetics-sounds" in mmprep("datasets").stdout


FOLDER = ["build", "--dataset", "folder", "--out", "o", "--raw"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["build", "--dataset", "kinetics-sound", "--raw", ".", "--out", "o"], "kinetics-sounds"),
        (["build", "--out", "o"], "--dataset NAME"),
        (["build", "--dataset", "vggsound", "--out", "o"], "--raw names"),
        ([*FOLDER, "gone"], "no such folder"),
        ([*FOLDER, ".", "--set", "frames.shortside=3"], "frames.short_side"),
        ([*FOLDER, ".", "--set", "frames.quality=x"], "frames.quality is int"),
        ([*FOLDER, ".", "--set", "frames.quality=101"], "1 to 100"),
        ([*FOLDER, ".", "--parts", "flows"], "flow"),
        ([*FOLDER, ".", "--engine", "locl"], "local"),
        (["build", "--dataset", "folder", "--raw", ".", "--out", "ftp://x/y"], "ftp"),
        (["verify", "nowhere"], "no dataset.json"),
        (["info", "nowhere"], "no dataset.json"),
        (["inspect", "nowhere", "--png", "a.png"], "no dataset.json"),
        (["repair", "nowhere"], "no dataset.json"),
        (["build", "--max-failed", "2", "--out", "o"], "0<=x<=1"),
    ],
)
def test_wrong_requests_are_exit_2_and_name_the_fix(
    words: list[str], said: str, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(raw)
    done = mmprep(*words)
    assert done.exit_code == 2, done.output
    assert said in done.stderr
    assert "Traceback" not in done.output
    assert not (raw / "o").exists()


def test_a_row_that_leaves_raw_is_refused(raw: Path, tmp_path: Path) -> None:
    for source in ("../x.mp4", "/etc/x.mp4"):
        csv = tmp_path / "m.csv"
        csv.write_text(f"label,video\na,{source}\n")
        done = mmprep("build", "--manifest", csv, "--raw", raw, "--out", tmp_path / "o")
        assert done.exit_code == 3
        assert "leaves --raw" in done.stderr


def test_unknown_sample_offers_the_nearest(built: Path, tmp_path: Path) -> None:
    done = mmprep("inspect", built, "--key", "a__b_clip", "--png", tmp_path / "a.png")
    assert done.exit_code == 2
    assert "did you mean" in done.stderr


def test_nothing_found_names_the_archives(raw: Path, tmp_path: Path) -> None:
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "my_train.txt").write_text("--4-0ihtnBU_000058_000068,10,4\n")
    (lists / "my_test.txt").write_text("-3Mwkq-7TV4_2,10,23\n")
    done = mmprep("build", "--dataset", "kinetics-sounds", "--raw", raw, "--annotations", lists,
                  "--out", tmp_path / "o")  # fmt: skip
    assert done.exit_code == 2
    assert "k400_train_path.txt" in done.stderr
    assert "--4-0ihtnBU_000058_000068" in done.stderr


def test_too_many_failures_are_exit_3_and_go_on_later(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "o"
    stopped = mmprep("build", *flags(raw, out), "--max-failed", "0")
    assert stopped.exit_code == 3
    assert "--max-failed" in stopped.stderr
    assert mmprep("build", *flags(raw, out), "--max-failed", "0.5").exit_code == 0


def test_parameters_of_generated_clips_are_set_and_each_record_has_its_noise(
    tmp_path: Path,
) -> None:
    keypad = ("build", "--dataset", "keypad", "--out", tmp_path / "o", "--workers", 1)
    wrong = mmprep(*keypad, "--set", "clips.nois=3")
    assert wrong.exit_code == 2
    assert "noise" in wrong.stderr
    assert not list(tmp_path.iterdir())

    chosen = ("--set", "clips.noise=2,5", "--set", "clips.limit=3")
    done = mmprep(*keypad, *chosen)

    assert done.exit_code == 0, done.output
    with Shards(open_store(str(tmp_path / "o"))) as shards:
        records = [shards.record(row) for row in range(len(shards.index))]
        parts = shards.dataset.parts
    assert len(records) == 3
    assert all(2 <= float(record["extra"]["noise"]) <= 5 for record in records)
    assert not any(name.startswith("clips") for name in parts)
    other = mmprep(*keypad)
    assert other.exit_code == 2
    assert "holds keypad clips made with" in other.stderr


def test_parameters_of_clips_are_refused_where_none_are_generated(
    raw: Path, tmp_path: Path
) -> None:
    for words in (flags(raw, tmp_path / "o"), [*flags(raw, tmp_path / "o"), "--dataset", "keypad"]):
        done = mmprep("build", *words, "--set", "clips.noise=3")
        assert done.exit_code == 2
        assert "clips." in done.stderr


def test_other_settings_are_refused_until_forced(built: Path, raw: Path, tmp_path: Path) -> None:
    other = [*flags(raw, built), "--set", "frames.quality=50"]
    done = mmprep("build", *other)
    assert done.exit_code == 2
    assert "--force" in done.stderr
    assert mmprep("build", *flags(raw, built), "--force").exit_code == 0


def test_ctrl_c_leaves_what_the_next_run_continues(tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "o"
    write_clip(raw / "a/0.mp4", seconds=1)
    os.mkfifo(raw / "a/1.mp4")
    (raw / "m.csv").write_text("label,video\na,a/0.mp4\na,a/1.mp4\n")
    command = [sys.executable, "-m", "mmprep", "build", "--manifest", raw / "m.csv", "--raw", raw,
               "--out", out, "--workers", "1"]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    # From now on a decoder waits for what is written here.
    held = opened(raw / "a/1.mp4")
    assert (out / "_build/plan.json").exists()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=WAIT_S)
    os.close(held)
    assert process.returncode == 1
    assert "goes on from here" in errors
    assert "Traceback" not in errors
    (raw / "a/1.mp4").unlink()
    write_clip(raw / "a/1.mp4", seconds=1)
    done = mmprep("build", "--manifest", raw / "m.csv", "--raw", raw, "--out", out)
    assert done.exit_code == 0, done.output
    assert not (out / "_build").exists()
