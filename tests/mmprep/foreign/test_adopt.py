"""Tars of other tools with an index of ours: read, trained on, verified, or refused by name."""

import io
import json
import tarfile

import numpy as np
import pytest
import simplejpeg
import webdataset
from click.testing import CliRunner

from mmprep.cli.main import main
from mmprep.errors import ConfigError, DataError
from mmprep.foreign.adopt import LabelRule, adopt, label_rule
from mmprep.foreign.members import PATTERNS
from mmprep.format import DATASET
from mmprep.inspection.verify import verify
from mmprep.shards import Shards
from mmprep.storage.store import LocalStore
from mmtrain.data import OrderedStream, SampleOrder, StreamOptions, View, open_dataset
from mmtrain.modalities import MODALITIES
from mmtrain.training.train import train
from tests.support.enginework import small

VIEW = View(frames=1, size=32)


def picture(number):
    grey = np.full((40, 48, 3), 20 + 3 * number, np.uint8)
    return simplejpeg.encode_jpeg(grey, quality=95)


def sound(number):
    buffer = io.BytesIO()
    np.save(buffer, np.full((64, 60), number, np.float32))
    return buffer.getvalue()


def written(path, numbers, **changes):
    """Writes a tar with webdataset's own writer, which puts an extended header before each file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with webdataset.TarWriter(str(path)) as writer:
        for number in numbers:
            sample = {
                "__key__": f"some/{'ab'[number % 2]}/{number:03}",
                "jpg": picture(number),
                "json": json.dumps({"label": ["cat", "dog"][number % 2]}).encode(),
                "npy": sound(number),
                "cls": str(number % 2).encode(),
                "txt": b"a caption",
            }
            writer.write({k: v for k, v in {**sample, **changes}.items() if v is not None})
    return path


@pytest.fixture
def tars(tmp_path):
    """24 samples to train on in two tars, 6 of val and 6 of test."""
    spans = {"train-0": (0, 12), "train-1": (12, 24), "val-0": (24, 30), "test-0": (30, 36)}
    return [written(tmp_path / f"wds/{n}.tar", range(*span)) for n, span in spans.items()]


SPLITS = {name: [f"{name}-*.tar"] for name in ("train", "val", "test")}


def test_patterns_are_those_of_the_modalities():
    ours = {line.part: line.members for line in MODALITIES.values() if line.part in PATTERNS}
    assert ours == dict(PATTERNS)


def test_the_tars_of_webdataset_are_read_member_by_member(tars, tmp_path):
    before = [tar.read_bytes() for tar in tars]
    dataset = adopt(tars, tars[0].parent, SPLITS, LabelRule())
    assert {s: i.samples for s, i in dataset.splits.items()} == {"train": 24, "val": 6, "test": 6}
    assert dataset.classes == ("0", "1")
    assert [tar.read_bytes() for tar in tars] == before
    assert {p.name for p in tars[0].parent.iterdir()} == {
        *(tar.name for tar in tars), "dataset.json", "index.h5"
    }  # fmt: skip
    with Shards(LocalStore(tars[0].parent)) as shards:
        for number in range(36):
            row = shards.index.find(f"some_{'ab'[number % 2]}_{number:03}")
            assert shards.read(row) == {
                "json": [], "frames": [picture(number)], "spectrogram": [sound(number)]
            }  # fmt: skip
    verdict = verify(LocalStore(tars[0].parent))
    assert verdict.problems == []


def test_the_stream_gives_any_sample_in_any_order(tars):
    adopt(tars, tars[0].parent, SPLITS, LabelRule())
    with open_dataset(tars[0].parent) as data:
        ids = data.ids("train")[::-1].copy()
        stream = OrderedStream(data, ("audio", "visual"), 6, VIEW, options=StreamOptions(workers=2))
        stream.begin(SampleOrder(ids, {"audio": ids % 2 == 0}), seed=0, epoch=0)
        batches = list(stream)
        numbers = [int(data.key(i).rpartition("_")[2]) for b in batches for i in b.ids.tolist()]
        assert numbers == [*range(23, -1, -1)]
        brightness = [x.float().mean().item() for b in batches for x in b.inputs["visual"]]
        assert brightness == pytest.approx([20 + 3 * number for number in numbers], abs=2)
        assert [t for b in batches for t in b.target.tolist()] == [n % 2 for n in numbers]


def test_a_curriculum_and_a_method_train_on_them(tars, tmp_path):
    done = CliRunner().invoke(
        main,
        [
            "index",
            *map(str, tars),
            "--out",
            str(tmp_path / "ds"),
            "--label",
            ".json:label",
            "--json",
        ]
        + [f"--split={name}={name}-*.tar" for name in SPLITS],
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["classes"] == ["cat", "dog"]
    # Outside of the data set's folder they are linked, not copied.
    assert (tmp_path / "ds/train/train-0.tar").samefile(tars[0])
    config = small(tmp_path / "ds", method="bss-l", epochs=2)
    assert train(config, tmp_path / "run")["test"]["accuracy"] >= 0


@pytest.mark.parametrize(
    ("text", "labels"),
    [(".cls", {"0", "1"}), (".json:label", {"cat", "dog"}), ("folder", {"a", "b"})],
)
def test_labels_follow_a_rule(tars, text, labels):
    dataset = adopt(tars, tars[0].parent, SPLITS, label_rule(text))
    assert {*dataset.classes} == labels


def test_without_patterns_folders_name_the_splits(tmp_path):
    tars = [
        written(tmp_path / f"{s}/0.tar", range(k, k + 6)) for k, s in ((0, "train"), (6, "val"))
    ]
    assert [*adopt(tars, tmp_path, {}, LabelRule()).splits] == ["train", "val"]
    with pytest.raises(ConfigError, match="holds a data set already"):
        adopt(tars, tmp_path, {}, LabelRule())


@pytest.mark.parametrize(
    ("changes", "rule", "reason"),
    [
        ({"cls": None}, ".cls", "has no label in .cls; see --label"),
        ({"json": b"{}"}, ".json:label", "has no label in .json; see --label"),
        ({"json": b"[[["}, ".json:label", "has no label in .json; see --label"),
        ({"__key__": "odd", "npy": None}, ".cls", "has frames, and others frames, spectrogram"),
        ({"__key__": "same"}, ".cls", "sample 'same' has"),
        ({"__key__": "x" * 90}, ".cls", "is no key: it has 1 to 80 letters"),
    ],
)
def test_what_cannot_be_described_is_refused_by_name(tars, tmp_path, changes, rule, reason):
    odd = written(tmp_path / "wds/train-9.tar", [50], **changes)
    again = written(tmp_path / "wds/train-8.tar", [51], __key__="same")
    with pytest.raises(DataError) as caught:
        adopt([*tars, again, odd], tmp_path / "ds", SPLITS, label_rule(rule))
    assert reason in str(caught.value)
    assert "train-9.tar" in str(caught.value)
    assert not (tmp_path / "ds" / DATASET).exists()


@pytest.mark.parametrize("cut", [1, 700, 1300, 5000, 12_000])
def test_a_tar_that_was_cut_is_refused(tars, tmp_path, cut):
    whole = tars[0].read_bytes()
    tars[0].write_bytes(whole[: len(whole) - 10_240 - cut])
    with pytest.raises(DataError, match=r"train-0\.tar"):
        adopt(tars, tmp_path / "ds", SPLITS, LabelRule())


def test_a_link_in_a_tar_is_refused(tars, tmp_path):
    with tarfile.open(tmp_path / "wds/train-2.tar", "w") as archive:
        info = tarfile.TarInfo("a.jpg")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(info)
    with pytest.raises(DataError, match=r"'a\.jpg' is no plain file; refused"):
        adopt([*tars, tmp_path / "wds/train-2.tar"], tmp_path / "ds", SPLITS, LabelRule())


@pytest.mark.parametrize(
    ("splits", "reason"),
    [
        ({}, "is of no split; say --split train="),
        ({"train": ["*.tar"], "val": ["val-*"]}, "is of train and val"),
        ({"val": ["*.tar"]}, "no tar is of the split train"),
    ],
)
def test_a_tar_is_of_one_split(tars, tmp_path, splits, reason):
    with pytest.raises(ConfigError, match=reason):
        adopt(tars, tmp_path / "ds", splits, LabelRule())


@pytest.mark.parametrize(
    "option", ["--label=.txt", "--label=.cls:x", "--split=train", "--split=a=b"]
)
def test_a_wrong_rule_is_a_wrong_request(tars, tmp_path, option):
    done = CliRunner().invoke(main, ["index", str(tars[0]), "--out", str(tmp_path / "x"), option])
    assert done.exit_code == 2
    assert option.partition("=")[0] in done.stderr


def test_a_changed_place_is_damage(tars):
    adopt(tars, tars[0].parent, SPLITS, LabelRule())
    with tars[0].open("r+b") as file:
        file.seek(2000)
        file.write(b"\1\2\3")
    assert [p.path for p in verify(LocalStore(tars[0].parent)).problems] == ["train-0.tar"]
