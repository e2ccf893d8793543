"""Readers for which the raw files are the list: folders of classes, digits, a manifest beside."""

import gzip
from collections import Counter
from dataclasses import replace

import pytest

from mmprep.datasets import spec
from mmprep.datasets.find import collect
from mmprep.datasets.lists import Lists, read
from mmprep.errors import ConfigError, DataError


def touch(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"x")


def folder(raw, **lists):
    data = spec.load("folder")
    return collect(replace(data, lists={**data.lists, **lists}), raw=raw).rows


def test_a_folder_a_class(tmp_path):
    touch(tmp_path, "air drumming/-x_1.mp4", "Übung/clip, 1.MKV", "b/deep/er/c.avi", "b/notes.txt")
    found = {row.sources["video"]: row.label for row in folder(tmp_path)}
    assert found == {
        "air drumming/-x_1.mp4": "air drumming",
        "Übung/clip, 1.MKV": "Übung",
        "b/deep/er/c.avi": "b",
    }


def test_split_folders_above_the_classes(tmp_path):
    touch(tmp_path, "Train/a/1.mp4", "valid/a/2.mp4", "test/a/3.mp4")
    assert [(row.split, row.label) for row in folder(tmp_path)] == [
        ("train", "a"),
        ("val", "a"),
        ("test", "a"),
    ]


def test_a_class_called_train_is_a_class(tmp_path):
    touch(tmp_path, "train/1.mp4", "bus/2.mp4")
    assert {row.label for row in folder(tmp_path)} == {"train", "bus"}
    touch(tmp_path, "train/sub/3.mp4")
    assert {row.label for row in folder(tmp_path)} == {"train", "bus"}


def test_val_is_drawn_from_train_where_there_are_train_and_test_folders_only(tmp_path):
    touch(tmp_path, *(f"train/a/{n}.mp4" for n in range(300)), "test/a/t.mp4")
    found = Counter(row.split for row in folder(tmp_path))
    assert found["test"] == 1
    assert 15 < found["val"] < 60


def test_new_files_move_no_old_ones(tmp_path):
    touch(tmp_path, *(f"a/{n}.mp4" for n in range(100)))
    before = {row.key: row.split for row in folder(tmp_path)}
    touch(tmp_path, *(f"a/new{n}.mp4" for n in range(100)), "b/0.mp4", "a/7.mkv")
    after = {row.key: row.split for row in folder(tmp_path)}
    assert before.items() <= after.items()
    assert set(before.values()) == {"train", "val", "test"}


def test_shares_and_seed_are_settable(tmp_path):
    touch(tmp_path, *(f"a/{n}.mp4" for n in range(100)))
    assert {row.split for row in folder(tmp_path, shares={"train": 1.0})} == {"train"}
    splits = [[row.split for row in folder(tmp_path, seed=seed)] for seed in (0, 1)]
    assert splits[0] != splits[1]
    with pytest.raises(ConfigError, match="shares"):
        folder(tmp_path, shares={"trian": 1.0})


def test_videos_of_one_name_and_a_sound_beside(tmp_path):
    touch(tmp_path, "a/1.mp4", "a/1.mkv", "a/2.mp4", "a/2.wav", "a/3#1.mp4", "a/3.wav")
    found = {row.sources["video"]: row.sources.get("audio") for row in folder(tmp_path)}
    assert found == {"a/1.mp4": None, "a/1.mkv": None, "a/2.mp4": "a/2.wav", "a/3#1.mp4": None}


def test_a_folder_without_class_folders_is_refused(tmp_path):
    touch(tmp_path, "1.mp4", "a/readme.txt")
    with pytest.raises(ConfigError, match="folder of its name"):
        folder(tmp_path)
    with pytest.raises(ConfigError, match="--raw"):
        read(Lists(None, None), spec.load("folder"))


def test_a_ready_manifest_keeps_its_rows(tmp_path):
    touch(tmp_path, "train/3/a.mp4")
    (tmp_path / "keypad.csv").write_text(
        "key,label,split,start,end,video,actor\nk1,3,train,0.5,1.5,train/3/a.mp4,x\n"
        "k2,4,test,,,test/4/gone.mp4,\n"
    )
    found = collect(replace(spec.load("keypad"), expected={}), raw=tmp_path)
    (row,) = found.rows
    assert (row.key, row.label, row.start, row.end) == ("k1", "3", 0.5, 1.5)
    assert row.sources == {"video": "train/3/a.mp4"}
    assert row.extra == {"actor": "x"}
    assert [failure.key for failure in found.missing] == ["k2"]


def test_a_ready_manifest_may_not_leave_raw(tmp_path):
    (tmp_path / "keypad.csv").write_text("label,video\n1,../x.mp4\n")
    with pytest.raises(DataError, match="leaves --raw"):
        collect(spec.load("keypad"), raw=tmp_path)


@pytest.fixture
def digits(tmp_path):
    """24 + 10 pictures, and the takes 0, 5 and 10 of two speakers."""

    def labels(values):
        return (2049).to_bytes(4, "big") + len(values).to_bytes(4, "big") + bytes(values)

    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(
        gzip.compress(labels([n % 2 for n in range(24)]))
    )
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(labels(list(range(10))))
    touch(
        tmp_path, "train-images.idx3-ubyte", "t10k-images-idx3-ubyte.gz", "t10k-images-idx3-ubyte"
    )
    takes = [
        f"{d}_{who}_{take}.wav" for d in range(10) for who in ("ann", "bo") for take in (0, 5, 10)
    ]
    touch(tmp_path, *(f"recordings/{take}" for take in takes), "recordings/._0_ann_11.wav")
    return tmp_path


def test_digits_pair_pictures_and_takes(digits):
    rows = collect(replace(spec.load("av-mnist"), expected={}), raw=digits).rows
    assert Counter(row.split for row in rows) == {"train": 22, "val": 2, "test": 10}
    by_key = {row.key: row for row in rows}
    zeros = [by_key[f"train-{n:05d}"].sources["audio"] for n in (0, 2, 4)]
    assert zeros == [f"recordings/0_{who}_10.wav" for who in ("ann", "bo", "ann")]
    assert by_key["train-00003"].sources["image"] == "train-images.idx3-ubyte#3"
    assert by_key["test-00009"].sources["image"] == "t10k-images-idx3-ubyte#9"
    assert by_key["val-00022"].sources["audio"].endswith("_5.wav")


def test_no_recording_is_in_two_splits(digits):
    rows = collect(replace(spec.load("av-mnist"), expected={}), raw=digits).rows
    used = {s: {r.sources["audio"] for r in rows if r.split == s} for s in ("train", "val", "test")}
    assert not used["train"] & used["val"]
    assert not used["test"] & (used["train"] | used["val"])


def test_missing_labels_and_recordings_say_what_to_get(digits):
    labels = (digits / "t10k-labels-idx1-ubyte").rename(digits / "elsewhere")
    with pytest.raises(ConfigError, match="put it in --raw"):
        read(Lists(None, digits), spec.load("av-mnist"))
    labels.rename(digits / "t10k-labels-idx1-ubyte")
    (digits / "recordings" / "3_ann_0.wav").unlink()
    (digits / "recordings" / "3_bo_0.wav").unlink()
    with pytest.raises(ConfigError, match="digit 3 for test"):
        read(Lists(None, digits), spec.load("av-mnist"))


def test_a_stray_video_above_the_classes_does_not_make_classes_of_splits(tmp_path, caplog):
    touch(tmp_path, "train/cat/a.mp4", "train/dog/b.mp4", "test/cat/c.mp4", "test/dog/d.mp4")
    touch(tmp_path, "val/cat/e.mp4", "train/stray.mp4", "stray.mp4")
    found = {row.sources["video"]: (row.split, row.label) for row in folder(tmp_path)}
    assert found == {
        "train/cat/a.mp4": ("train", "cat"),
        "train/dog/b.mp4": ("train", "dog"),
        "test/cat/c.mp4": ("test", "cat"),
        "test/dog/d.mp4": ("test", "dog"),
        "val/cat/e.mp4": ("val", "cat"),
    }
    assert "2 videos in no class folder left out" in caplog.text
    assert "train/stray.mp4" in caplog.text


def test_splits_without_class_folders_are_refused(tmp_path):
    touch(tmp_path, "train/a.mp4", "test/b.mp4")
    with pytest.raises(ConfigError, match="test, train are folders of splits"):
        folder(tmp_path)


def test_a_folder_beside_those_of_splits_is_named(tmp_path):
    touch(tmp_path, "train/cat/a.mp4", "test/cat/c.mp4", "extras/intro.mp4")
    with pytest.raises(ConfigError, match=r"extras/intro\.mp4 lies beside them"):
        folder(tmp_path)


def test_a_sound_in_another_folder_is_not_taken(tmp_path):
    touch(tmp_path, "cat/b.mp4", "other/cat/b.wav", "cat/c.mp4", "cat/c.WAV")
    found = {row.sources["video"]: row.sources.get("audio") for row in folder(tmp_path)}
    assert found == {"cat/b.mp4": None, "cat/c.mp4": "cat/c.WAV"}
