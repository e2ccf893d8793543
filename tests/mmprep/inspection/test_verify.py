import random
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmprep.errors import ConfigError
from mmprep.format import DATASET, FAILURES, INDEX
from mmprep.inspection.verify import Problem, verify
from mmprep.shards import Shards, read_dataset
from mmprep.storage.store import LocalStore, open_store
from tests.support import webserver

SHARD = "train/000001.tar"


@pytest.fixture
def out(finished, tmp_path):
    """A data set that a test may damage."""
    return shutil.copytree(finished, tmp_path / "out")


def problems(out):
    return verify(LocalStore(out)).problems


def flip(path, at, mask=1):
    with path.open("r+b") as file:
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ mask]))


def test_what_is_as_it_was_written_has_no_problems(finished):
    seen = []
    verdict = verify(LocalStore(finished), seen.append)
    dataset = read_dataset(LocalStore(finished))
    assert verdict.problems == []
    assert verdict.root == dataset.root
    assert verdict.samples == dataset.samples == 12
    assert verdict.bytes == sum(shard.bytes for shard in dataset.shards)
    assert seen == list(dataset.shards)


def test_verifying_changes_nothing(out):
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    problems(out)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


@pytest.mark.parametrize("row", [0, 1, 2])
@pytest.mark.parametrize(
    ("part", "place", "said"),
    [
        ("json", "header", "the tar header of {}.json"),
        ("json", "data", "the bytes of {}.json"),
        ("json", "padding", "the padding behind {}.json"),
        ("frames", "header", "the tar header of {}.frame00.jpg"),
        ("frames", "data", "the bytes of {}.frame00.jpg"),
        ("frames", "padding", "the padding behind {}.frame00.jpg"),
        ("spectrogram", "header", "the tar header of {}.spectrogram.npy"),
        ("spectrogram", "data", "the bytes of {}.spectrogram.npy"),
        ("spectrogram", "padding", "the padding behind {}.spectrogram.npy"),
    ],
)
def test_one_flipped_bit_names_the_shard_the_sample_and_the_member(out, row, part, place, said):
    index = Shards(LocalStore(out)).index
    shard = index.shards.index(SHARD)
    (row,) = (index.shard == shard).nonzero()[0][row : row + 1].tolist()
    key = index.key[row].decode()
    member = index.members(row)[part][0]
    assert member.size % 512, "no padding to damage"
    at = {
        "header": member.offset - 512 + 200,
        "data": member.offset + member.size // 2,
        "padding": member.offset + member.size,
    }[place]
    flip(out / SHARD, at)
    assert problems(out) == [Problem(path=SHARD, key=key, message=said.format(key))]


@pytest.mark.parametrize("back", [1, 512, 1024])
def test_a_flipped_bit_in_the_last_blocks_names_the_end(out, back):
    flip(out / SHARD, (out / SHARD).stat().st_size - back)
    assert problems(out) == [Problem(path=SHARD, key=None, message="the end of the archive")]


def test_two_damaged_shards_are_both_named(out):
    flip(out / SHARD, 700)
    flip(out / "val/000000.tar", 700)
    assert {problem.path for problem in problems(out)} == {SHARD, "val/000000.tar"}


def test_any_flipped_bit_of_a_shard_is_found_and_names_it(out):
    chance = random.Random(0)
    path = out / "test/000000.tar"
    size = path.stat().st_size
    for _ in range(400):
        at, mask = chance.randrange(size), 1 << chance.randrange(8)
        flip(path, at, mask)
        assert {problem.path for problem in problems(out)} == {"test/000000.tar"}, (at, mask)
        flip(path, at, mask)
    assert problems(out) == []


@settings(
    deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_any_damage_to_any_file_is_found_and_nothing_else_happens(out, finished, data):
    name = data.draw(st.sampled_from([DATASET, INDEX, FAILURES, SHARD]))
    good = (finished / name).read_bytes()
    at = data.draw(st.integers(0, len(good)))
    end = data.draw(st.integers(at, min(at + 20, len(good))))
    bad = good[:at] + data.draw(st.binary(max_size=20)) + good[end:]
    (out / name).write_bytes(bad)
    assert bool(problems(out)) == (bad != good)
    (out / name).write_bytes(good)


def test_every_byte_of_the_index_counts_and_its_damage_hides_no_other(out):
    chance = random.Random(1)
    size = (out / INDEX).stat().st_size
    flip(out / SHARD, 700)
    for at in chance.sample(range(size), 300):
        flip(out / INDEX, at, 0xFF)
        found = problems(out)
        assert {problem.path for problem in found} == {INDEX, SHARD}, at
        flip(out / INDEX, at, 0xFF)


def test_a_damaged_index_is_named_once_and_good_shards_are_not(out):
    flip(out / INDEX, (out / INDEX).stat().st_size - 1)
    assert problems(out) == [
        Problem(path=INDEX, key=None, message="its SHA-256 is not the one in dataset.json")
    ]


def test_a_damaged_list_of_failures_is_named(out):
    (out / FAILURES).write_text("{}\n")
    assert problems(out) == [
        Problem(path=FAILURES, key=None, message="its SHA-256 is not the one in dataset.json")
    ]


def test_a_damaged_description_is_named(out):
    path = out / DATASET
    path.write_text(path.read_text().replace('"quality": 90', '"quality": 91'))
    (problem,) = problems(out)
    assert problem.path == DATASET
    assert "was changed or damaged" in problem.message


@pytest.mark.parametrize("name", [INDEX, FAILURES])
def test_a_missing_file_is_named(out, name):
    (out / name).unlink()
    assert problems(out) == [Problem(path=name, key=None, message="missing")]


def test_a_missing_shard_is_named_with_how_much_is_lost(out):
    (out / SHARD).unlink()
    assert problems(out) == [Problem(path=SHARD, key=None, message="missing, with 3 samples")]


@pytest.mark.parametrize("left", [0, 700, 5000])
def test_a_shard_that_was_cut_off_is_named_with_the_samples_that_are_hit(out, left):
    index = Shards(LocalStore(out)).index
    size = (out / SHARD).stat().st_size
    with (out / SHARD).open("r+b") as file:
        file.truncate(left)
    first, *others = problems(out)
    assert first == Problem(path=SHARD, key=None, message=f"{left} bytes, not {size}")
    rows = (index.shard == index.shards.index(SHARD)).nonzero()[0].tolist()
    hit = {index.key[row].decode() for row in rows if index.extent(row)[1] > left}
    assert {problem.key for problem in others} - {None} == hit


def test_bytes_behind_the_end_are_found(out):
    size = (out / SHARD).stat().st_size
    with (out / SHARD).open("ab") as file:
        file.write(bytes(512))
    assert problems(out) == [
        Problem(path=SHARD, key=None, message=f"{size + 512} bytes, not {size}")
    ]


def test_swapped_shards_are_both_named(out):
    a, b = out / "train/000000.tar", out / SHARD
    a.rename(out / "aside")
    b.rename(a)
    (out / "aside").rename(b)
    assert {problem.path for problem in problems(out)} == {"train/000000.tar", SHARD}


@pytest.mark.parametrize("name", ["notes.txt", "train/000007.tar", "train/.hidden", ".partial-1"])
def test_a_file_that_is_not_ours_is_named(out, name):
    (out / name).write_text("x")
    assert problems(out) == [Problem(path=name, key=None, message="not ours")]


def test_what_an_unfinished_run_left_is_named(out):
    (out / "_build").mkdir()
    (out / "_build/repair.json").write_text("[]")
    (problem,) = problems(out)
    assert problem.message == "left by an unfinished build or repair"


def test_a_folder_without_a_data_set_is_a_wrong_request(tmp_path):
    with pytest.raises(ConfigError, match=r"no dataset\.json; not a data set, or a build that has"):
        verify(LocalStore(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_side_files_of_other_readers_are_notes(out):
    (out / ".nv-meta").mkdir()
    (out / ".nv-meta/index.sqlite").write_bytes(b"x")
    (out / "train/000000.tar.idx").write_bytes(b"x")
    verdict = verify(LocalStore(out))
    assert not verdict.problems
    assert [note.partition(":")[0] for note in verdict.notes] == [
        ".nv-meta/index.sqlite",
        "train/000000.tar.idx",
    ]


def test_a_data_set_on_a_web_server_is_verified(out):
    with webserver.serving(out) as address:
        assert not verify(open_store(address)).problems
        path = out / "train/000000.tar"
        path.write_bytes(path.read_bytes()[:-1] + b"x")
        assert verify(open_store(address)).problems[0].path == "train/000000.tar"
