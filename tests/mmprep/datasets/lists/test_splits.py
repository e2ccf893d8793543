from collections import Counter

from mmprep.datasets.lists import Listed
from mmprep.datasets.lists.splits import pick, split_off_val

SHARES = {"train": 0.8, "val": 0.1, "test": 0.1}


def clip(key, label="a", split="train", **extra):
    return Listed(key=key, label=label, split=split, names={}, extra=extra)


def test_every_class_gives_its_share():
    listed = [clip(f"{label}{n}", label) for label in "abc" for n in range(50)]
    chosen = [c for c in split_off_val(listed, 0.1, seed=0) if c.split == "val"]
    assert Counter(c.label for c in chosen) == {"a": 5, "b": 5, "c": 5}


def test_the_order_of_the_list_plays_no_part():
    listed = [clip(f"k{n}", "ab"[n % 2]) for n in range(100)]
    forward = {c.key: c.split for c in split_off_val(listed, 0.2, seed=3)}
    backward = {c.key: c.split for c in split_off_val(listed[::-1], 0.2, seed=3)}
    assert forward == backward


def test_another_seed_is_another_draw():
    listed = [clip(f"k{n}") for n in range(100)]
    draws = {tuple(c.split for c in split_off_val(listed, 0.2, seed=seed)) for seed in range(3)}
    assert len(draws) == 3


def test_test_clips_are_never_touched():
    listed = [clip(f"k{n}", split="test") for n in range(50)]
    assert split_off_val(listed, 0.5, seed=0) == listed


def test_groups_stay_whole_across_classes():
    listed = [clip(f"k{n}", "ab"[n % 2], subject=f"s{n % 10}") for n in range(200)]
    splits = {}
    for c in split_off_val(listed, 0.2, seed=0, group="subject"):
        splits.setdefault(c.extra["subject"], set()).add(c.split)
    assert all(len(found) == 1 for found in splits.values())
    assert sum(found == {"val"} for found in splits.values()) == 2


def test_a_hash_split_does_not_depend_on_other_names():
    names = [f"cat/{n}.mp4" for n in range(2000)]
    found = Counter(pick(name, SHARES, seed=0) for name in names)
    assert 1500 < found["train"] < 1700
    assert 140 < found["val"] < 260
    assert 140 < found["test"] < 260


def test_a_share_of_nothing_gets_nothing():
    assert {pick(str(n), {"train": 1.0, "val": 0.0}, seed=0) for n in range(500)} == {"train"}
