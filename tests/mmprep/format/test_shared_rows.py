"""Questions of a clip are rows of the index over one sample of the tar."""

import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mmprep.errors import DataError
from mmprep.format import DATASET, FAILURES, INDEX, Dataset, read_members
from mmprep.inspection.info import part_bytes, summarise
from mmprep.inspection.verify import verify
from mmprep.manifest import Question, Row
from mmprep.shards import Shards
from mmprep.storage.store import LocalStore
from tests.support.rowmaker import clips_with_questions, make_rows, payload_of

ROWS = clips_with_questions()
# Parts before the question and behind it, which must be found past the questions of others.
AROUND = ("frames", "question", "speech")


@pytest.fixture(params=[("frames", "spectrogram", "question"), AROUND, ("frames",)])
def shards(request: pytest.FixtureRequest, tmp_path: Path) -> Shards:
    return make_rows(tmp_path / "out", ROWS, parts=request.param)


def test_each_question_is_a_row_with_its_own_label_and_group(shards: Shards) -> None:
    index = shards.index
    seen = {
        index.key[row].decode(): (index.classes[index.label[row]], index.group_name(row))
        for row in range(len(index))
    }
    wanted = {
        key: (question.label, question.group)
        for row in ROWS
        for key, question in zip(row.row_keys, row.questions, strict=False)
    }
    assert seen == {**wanted, "alone0": ("no", "")}
    assert len(index) == shards.dataset.samples == 13
    assert sum(shard.samples for shard in shards.dataset.shards) == len(index.clips) == len(ROWS)


def test_a_row_reads_the_shared_members_and_its_own_question(shards: Shards) -> None:
    parts = shards.index.parts[1:]
    for row in ROWS:
        whole = payload_of(row, parts)
        for number, key in enumerate(row.row_keys):
            wanted = dict(whole)
            if "question" in parts and row.questions:
                wanted["question"] = [whole["question"][number]]
            assert shards.read(shards.index.find(key)) == wanted


def test_the_layout_of_many_rows_is_that_of_each(shards: Shards) -> None:
    index = shards.index
    rows = np.random.default_rng(0).permutation(np.repeat(np.arange(len(index)), 2))
    layout = index.layout(rows)
    for i, row in enumerate(rows.tolist()):
        members = index.members(row)
        assert index.counts[row].tolist() == [len(each) for each in members.values()]
        for column, each in enumerate(members.values()):
            for ordinal, member in enumerate(each):
                at = layout.row[i, column] + ordinal
                place = layout.begin[at], layout.size[at], layout.crc[at]
                assert place == (member.offset, member.size, member.crc)


def test_files_of_a_clip_lie_once_in_the_tar_with_all_questions(shards: Shards) -> None:
    names: list[str] = []
    for shard in shards.dataset.shards:
        with tarfile.open(shards.store.root / shard.name) as tar:  # type: ignore[attr-defined]
            names += tar.getnames()
    assert len(names) == len(set(names)) == len(shards.index.size)
    if "question" in shards.index.parts:
        assert [n for n in names if n.startswith("clip2.q")] == [
            f"clip2.question{i:02d}.txt" for i in range(3)
        ]
        assert "clip0.question00.txt" in names  # numbered, even where there is one
        assert "alone0.question.txt" in names


def test_a_clip_is_found_by_its_own_key_too(shards: Shards) -> None:
    assert shards.index.find("clip2") == shards.index.find("clip2-q20")
    assert shards.index.clip_key(shards.index.find("clip2-q22")) == "clip2"
    with pytest.raises(DataError, match="no sample 'clip'"):
        shards.index.find("clip")


def test_verify_finds_it_whole(shards: Shards) -> None:
    verdict = verify(shards.store)
    assert verdict.problems == []
    assert verdict.samples == 13


@pytest.mark.parametrize("part", ["json", "frames", "question"])
def test_verify_names_the_clip_of_a_damaged_member(tmp_path: Path, part: str) -> None:
    shards = make_rows(tmp_path / "out", ROWS, parts=AROUND)
    row = shards.index.find("clip2-q21")
    member = shards.index.members(row)[part][0]
    path = tmp_path / "out" / shards.index.shards[shards.index.shard[row]]
    data = bytearray(path.read_bytes())
    data[member.offset] ^= 1
    path.write_bytes(data)
    (problem,) = verify(shards.store).problems
    assert problem.key == "clip2"
    assert problem.message == f"the bytes of {member.name}"


def test_sizes_count_what_is_shared_once(shards: Shards) -> None:
    index = shards.index
    assert part_bytes(index).sum() == index.size.sum()
    members = {name: part["members"] for name, part in summarise(shards)["parts"].items()}
    assert sum(members.values()) == len(index.size)
    assert members["frames"] == 3 * len(ROWS)


def test_rewriting_the_entries_gives_the_same_index(shards: Shards) -> None:
    """What `repair` and `--extend` rely on: entries hold all that the index does."""
    from mmprep.build.publish import compose
    from mmprep.build.rewrite import reconstruct

    plan, results = reconstruct(shards.store, shards.dataset)
    dataset, files = compose(plan, results)
    assert dataset == shards.dataset
    for name in (INDEX, FAILURES, DATASET):
        assert files[name] == shards.store.read(name)


def test_an_older_reader_refuses_it_by_the_version(shards: Shards) -> None:
    assert shards.dataset.additions == ("group", "questions")
    assert shards.store.read(DATASET).startswith(b'{\n "format": 2,')
    lying = replace(shards.dataset, additions=("group",))
    shards.store.write(DATASET, lying.to_json().encode())
    with pytest.raises(DataError, match=r"names other additions than dataset\.json"):
        Shards(shards.store)


def test_webdataset_reads_a_clip_as_one_sample(shards: Shards) -> None:
    from webdataset.tariterators import group_by_keys, tar_file_expander

    samples = {}
    for shard in shards.dataset.shards:
        with shards.store.open(shard.name) as file:
            source = [{"url": shard.name, "stream": file}]
            for sample in group_by_keys(tar_file_expander(source)):
                samples[sample["__key__"]] = sample
    assert set(samples) == {row.key for row in ROWS}
    if "question" in shards.index.parts:
        assert samples["clip2"]["question01.txt"] == b"How many? 2 1"
        assert samples["alone0"]["question.txt"] == b"Is it alone?"


def test_a_shard_reads_forward(shards: Shards) -> None:
    for shard in shards.dataset.shards:
        with shards.store.open(shard.name) as file:
            assert len(list(read_members(file, shard.name))) > 3


def test_a_hundred_questions_have_names_of_one_width(tmp_path: Path) -> None:
    questions = tuple(Question(id=str(i), text=f"q{i}", label="x") for i in range(101))
    row = Row(key="k", label="", split="train", sources={"video": "a"}, questions=questions)
    shards = make_rows(tmp_path / "out", [row])
    assert len(shards.index) == 101
    assert shards.index.members(7)["question"][0].name == "k.question007.txt"
    assert shards.read(shards.index.find("k-q100"), ["question"]) == {"question": [b"q100"]}
    assert Dataset.from_json(shards.dataset.to_json(), "x").splits["train"].classes == {"x": 101}
    assert verify(LocalStore(tmp_path / "out")).problems == []
