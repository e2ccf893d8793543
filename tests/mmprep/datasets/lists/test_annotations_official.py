"""The real official lists, where a copy lies beside the repository."""

import shutil
from collections import Counter
from pathlib import Path

import pytest

from mmprep.datasets import spec
from mmprep.datasets.lists import Lists, read

LISTS = Path(__file__).parents[5] / "shared" / "annotations"

pytestmark = pytest.mark.skipif(not LISTS.is_dir(), reason=f"no official lists in {LISTS}")


def counts(name, folder, variant=None):
    listed = read(Lists(LISTS / folder, None), spec.load(name, variant))
    return dict(Counter(clip.split for clip in listed)), listed


@pytest.mark.parametrize(
    ("name", "variant", "folder"),
    [
        ("kinetics-sounds", None, "kinetics-sounds"),
        ("kinetics-sounds", "34", "kinetics-sounds"),
        ("crema-d", "official-split", "crema-d"),
        ("crema-d", "mla+official-split", "crema-d"),
        ("crema-d", "official", "crema-d"),
        ("ucf-101", "official-split", "ucf101"),
        ("ucf-101", "split-2+official-split", "ucf101"),
        ("ucf-101-three", "split-3+official-split", "ucf101"),
        ("ave", None, "ave"),
        ("ave", "event+no-leak", "ave"),
        ("nvgesture", "official-split", "nvgesture"),
        ("twitter2015", None, "twitter2015"),
        ("sarcasm", None, "sarcasm"),
        ("sarcasm", "hashtag", "sarcasm"),
        ("ave-segments", None, "ave"),
        ("ave-segments", "no-leak", "ave"),
    ],
)
def test_counts_are_the_official_ones(name, variant, folder):
    found, _ = counts(name, folder, variant)
    assert found == spec.load(name, variant).expected


@pytest.mark.parametrize(
    ("name", "variant", "folder", "split"),
    [
        ("crema-d", None, "crema-d", {"train": 6028, "val": 670, "test": 744}),
        ("crema-d", "mla", "crema-d", {"train": 6028, "val": 670, "test": 744}),
        ("ucf-101", None, "ucf101", {"train": 8522, "val": 1015, "test": 3783}),
        ("nvgesture", None, "nvgesture", {"train": 928, "val": 122, "test": 482}),
    ],
)
def test_val_is_carved_out_of_train_alone(name, variant, folder, split):
    found, listed = counts(name, folder, variant)
    assert found == split
    assert {c.label for c in listed if c.split == "val"} == {c.label for c in listed}


def test_no_subject_or_source_video_is_in_train_and_val():
    for name, folder, group in (
        ("ucf-101", "ucf101", "group"),
        ("nvgesture", "nvgesture", "subject"),
    ):
        _, listed = counts(name, folder)
        groups = {
            s: {c.extra[group] for c in listed if c.split == s} for s in ("train", "val", "test")
        }
        assert not groups["train"] & groups["val"]
        assert not groups["test"] & (groups["train"] | groups["val"])


def test_all_forms_of_the_kinetics_sounds_lists_agree(tmp_path):
    database = {c.key: c for c in counts("kinetics-sounds", "kinetics-sounds")[1]}
    for names in (["KS.json"], ["my_train.txt", "my_test.txt", "KS.json"]):
        folder = tmp_path / names[0]
        folder.mkdir()
        for name in names:
            shutil.copy(LISTS / "kinetics-sounds" / name, folder)
        listed = read(Lists(folder, None), spec.load("kinetics-sounds"))
        assert {c.key: c for c in listed} == database


def test_kinetics_csv_alone_has_more_val_clips_and_no_test_labels(tmp_path, caplog):
    for name in ("val.csv", "test.csv"):
        shutil.copy(LISTS / "kinetics400" / name, tmp_path)
    shutil.copy(LISTS / "kinetics400" / "tiny_train.csv", tmp_path / "train.csv")
    base = read(Lists(tmp_path, None), spec.load("kinetics-sounds"))
    more = read(Lists(tmp_path, None), spec.load("kinetics-sounds", "32"))
    assert Counter(c.split for c in base)["val"] == 1544
    assert Counter(c.split for c in more)["val"] == 1594
    assert "test.csv has no column of labels" in caplog.text


def test_vggsound_test_list():
    found, listed = counts("vggsound", "vggsound")
    assert found == {"test": 15446}
    assert len({clip.label for clip in listed}) == 309


def test_handstand_pushups_are_all_listed():
    _, listed = counts("ucf-101", "ucf101")
    assert sum("HandStandPushups" in c.key and c.label == "HandstandPushups" for c in listed) == 128


def test_eighteen_videos_of_ave_leak():
    _, listed = counts("ave", "ave")
    leaks = {
        c.extra["video_id"]: c.extra["also_in"]
        for c in listed
        if "also_in" in c.extra and c.split == "train"
    }
    assert Counter(leaks.values()) == {"val": 10, "test": 8}


def test_four_gestures_have_spans_of_their_own_for_depth():
    _, listed = counts("nvgesture", "nvgesture")
    assert sum("depth_frames" in c.extra for c in listed) == 4
    assert all(round((c.end - c.start) * 30) == 80 for c in listed)
