import hashlib
import io
import struct
import subprocess
import sys
import tarfile

import h5py
import numpy as np
import pytest
import webdataset
from hypothesis import given, settings
from hypothesis import strategies as st

from mmprep.errors import DataError
from mmprep.format import (
    Index,
    ShardInfo,
    ShardWriter,
    crc32c,
    member_names,
    read_members,
    write_index,
)
from mmprep.format.tar import header

PARTS = ("frames", "spectrogram")
SAMPLES = {
    "a": {"json": [b'{"key": "a"}'], "frames": [b"x" * 600, b"y"], "spectrogram": [b"z" * 512]},
    "b-2": {"json": [b"{}"], "frames": [b"", b"q" * 513], "spectrogram": [b"w"]},
}
# Where the data of each member begins, worked out by hand: a header of 512 bytes before each, and
# data filled up to whole blocks of 512.
BY_HAND = {
    "a.json": (512, 12),
    "a.frame00.jpg": (512 + 512 + 512, 600),
    "a.frame01.jpg": (1536 + 1024 + 512, 1),
    "a.spectrogram.npy": (3072 + 512 + 512, 512),
    "b-2.json": (4096 + 512 + 512, 2),
    "b-2.frame00.jpg": (5120 + 512 + 512, 0),
    "b-2.frame01.jpg": (6144 + 0 + 512, 513),
    "b-2.spectrogram.npy": (6656 + 1024 + 512, 1),
}
SIZE_BY_HAND = 8192 + 512 + 2 * 512
LABELS = st.text(
    st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1, max_size=20
).filter(lambda text: text == text.strip())


def written(samples=SAMPLES, parts=PARTS):
    file = io.BytesIO()
    writer = ShardWriter(file, parts)
    entries = [writer.write(key, payload) for key, payload in samples.items()]
    writer.close()
    return file.getvalue(), entries, writer


@pytest.fixture
def shard(tmp_path):
    path = tmp_path / "000000.tar"
    path.write_bytes(written()[0])
    return path


@pytest.mark.parametrize("name", ["a", "digit0001.frame00.jpg", "k" * 99, "k" * 100])
@pytest.mark.parametrize("size", [0, 1, 4_096, 123_456_789, (8 << 30) - 1])
def test_headers_are_those_of_tarfile(name: str, size: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    assert header(name, size) == info.tobuf(tarfile.USTAR_FORMAT)


def test_same_samples_give_same_bytes():
    assert written()[0] == written()[0]


def test_bytes_lie_where_the_hand_says():
    data, _, _ = written()
    assert len(data) == SIZE_BY_HAND
    members = [
        member for payload in SAMPLES.values() for part in payload.values() for member in part
    ]
    for (name, (offset, size)), member in zip(BY_HAND.items(), members, strict=True):
        assert data[offset : offset + size] == member, name


def test_the_writer_knows_size_and_digest_without_reading():
    data, _, writer = written()
    info = writer.info("train/000000.tar", 2)
    assert info == ShardInfo(
        name="train/000000.tar",
        samples=2,
        bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
    )


def test_python_reads_the_archive_and_finds_nothing_but_plain_fixed_files(shard):
    with tarfile.open(shard) as archive:
        found = archive.getmembers()
        assert [member.name for member in found] == list(BY_HAND)
        assert [(member.offset_data, member.size) for member in found] == list(BY_HAND.values())
        for member in found:
            assert member.isreg()
            fixed = (member.mode, member.uid, member.gid, member.mtime, member.uname, member.gname)
            assert fixed == (0o644, 0, 0, 0, "", "")


def test_gnu_tar_reads_the_archive_without_a_word(shard, tmp_path):
    seen = subprocess.run(["tar", "tf", shard], capture_output=True, check=True, text=True)
    assert seen.stdout.split() == list(BY_HAND)
    assert seen.stderr == ""
    out = tmp_path / "out"
    out.mkdir()
    subprocess.run(["tar", "xf", shard, "-C", out], check=True)
    assert (out / "b-2.frame01.jpg").read_bytes() == b"q" * 513


# webdataset leaves the file that it has read to the garbage collector.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <_io.FileIO:pytest.PytestWarning")
def test_webdataset_groups_the_samples_by_key(shard):
    found = list(webdataset.WebDataset(str(shard), shardshuffle=False))
    assert [sample["__key__"] for sample in found] == ["a", "b-2"]
    assert {k: v for k, v in found[0].items() if not k.startswith("__")} == {
        "json": SAMPLES["a"]["json"][0],
        "frame00.jpg": b"x" * 600,
        "frame01.jpg": b"y",
        "spectrogram.npy": b"z" * 512,
    }


def test_numbers_of_members_are_two_digits_wide_and_more_from_a_hundred_and_one():
    assert member_names("k", "frames", 1) == ["k.frame00.jpg"]
    assert member_names("k", "frames", 10)[9] == "k.frame09.jpg"
    assert member_names("k", "flow", 100)[99] == "k.flow99.jpg"
    assert member_names("k", "flow", 101)[::100] == ["k.flow000.jpg", "k.flow100.jpg"]
    assert member_names("k", "json", 1) == ["k.json"]
    assert member_names("k", "spectrogram", 1) == ["k.spectrogram.npy"]
    assert member_names("k", "frames", 0) == []


@pytest.mark.parametrize("part", ["frames", "spectrogram", "flow", "difference", "depth"])
def test_names_of_the_longest_keys_still_fit_into_a_header(tmp_path, part):
    key = "k" * 80
    count = 1 if part == "spectrogram" else 1001
    payload = {"json": [b"{}"], part: [b"x"] * count}
    data, _, _ = written({key: payload}, (part,))
    names = [name for name, _, _ in read_members(io.BytesIO(data), "here")]
    assert names == [f"{key}.json", *member_names(key, part, count)]


@pytest.mark.parametrize(
    ("data", "crc"), [(b"123456789", 0xE3069283), (b"", 0), (bytes(32), 0x8A9136AA)]
)
def test_crc32c_of_the_known_vectors(data, crc):
    assert crc32c(data) == crc


# The index


def index_bytes(classes=("x, y", 'é "z"')):
    _, entries, _ = written()
    return write_index(
        [(entries[0], 1, 0, 0), (entries[1], 0, 1, 1)],
        classes=classes,
        splits=("train", "test"),
        shards=("train/000000.tar", "test/000000.tar"),
        parts=("json", *PARTS),
    )


@pytest.fixture
def index_file(tmp_path):
    path = tmp_path / "index.h5"
    path.write_bytes(index_bytes())
    return path


def test_index_gives_back_what_was_written(index_file):
    index = Index.open(index_file)
    assert len(index) == 2
    assert index.classes == ("x, y", 'é "z"')
    assert index.splits == ("train", "test")
    assert index.shards == ("train/000000.tar", "test/000000.tar")
    assert index.parts == ("json", "frames", "spectrogram")
    assert index.key.tolist() == [b"a", b"b-2"]
    assert (index.label.tolist(), index.split.tolist()) == ([1, 0], [0, 1])
    assert index.counts.tolist() == [[1, 2, 1], [1, 2, 1]]
    assert index.find("b-2") == 1


def test_index_points_at_the_bytes(index_file):
    index, data = Index.open(index_file), written()[0]
    found = {
        member.name: (member.offset, member.size)
        for row in range(2)
        for members in index.members(row).values()
        for member in members
    }
    assert found == BY_HAND
    for row in range(2):
        for members in index.members(row).values():
            for member in members:
                assert crc32c(data[member.offset : member.offset + member.size]) == member.crc
    # Together the samples are the archive without its two last blocks.
    assert [index.extent(row) for row in range(2)] == [(0, 4608), (4608, SIZE_BY_HAND - 1024)]


def test_index_gives_back_the_entries_that_it_was_made_of(index_file):
    index = Index.open(index_file)
    assert list(index.entries(np.arange(2))) == written()[1]


def test_same_entries_give_the_same_index():
    assert index_bytes() == index_bytes()


def test_index_of_nothing_opens(tmp_path):
    path = tmp_path / "index.h5"
    path.write_bytes(write_index([], classes=(), splits=(), shards=(), parts=("json", *PARTS)))
    index = Index.open(path)
    assert len(index) == 0
    assert index.counts.shape == (0, 3)


@settings(deadline=None)
@given(classes=st.lists(LABELS, max_size=4, unique=True))
def test_any_class_name_survives_the_index(tmp_path_factory, classes):
    path = tmp_path_factory.mktemp("index") / "index.h5"
    path.write_bytes(index_bytes(classes=("first", "second", *classes)))
    assert Index.open(path).classes == ("first", "second", *classes)


def test_an_unknown_key_is_refused_with_some_that_are_known(index_file):
    with pytest.raises(DataError, match="no sample 'c'; keys look like a, b-2"):
        Index.open(index_file).find("c")


def _replace(file, name, values):
    del file[name]
    file[name] = values


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda file: file.pop("crc"), "not an index"),
        (lambda file: file.pop("classes"), "not an index"),
        (lambda file: _replace(file, "label", np.zeros(3, "<u2")), "'label' has not the 2 rows"),
        (lambda file: _replace(file, "start", np.zeros(1, "<u8")), "'start' has not the 2 rows"),
        (lambda file: _replace(file, "label", np.array([0, 2], "<u2")), "'label' points outside"),
        (lambda file: _replace(file, "shard", np.array([0, 9], "<u4")), "'shard' points outside"),
        (lambda file: _replace(file, "split", np.array([2, 0], "u1")), "'split' points outside"),
        (lambda file: _replace(file, "size", np.zeros(7, "<u4")), "members do not add up"),
        (lambda file: _replace(file, "crc", np.zeros(7, "<u4")), "members do not add up"),
        (lambda file: _replace(file, "first", np.array([0, 5], "<u8")), "members do not add up"),
        (lambda file: _replace(file, "first", np.array([9, 4], "<u8")), "members do not add up"),
        (lambda file: _replace(file, "first", np.array([2**60, 4], "<u8")), "do not add up"),
        (lambda file: _replace(file, "counts", np.ones((2, 4), "<u2")), "not the 3 parts"),
        (lambda file: _replace(file, "parts", np.array([b"json", b"../x", b"flow"])), "no part"),
    ],
)
def test_an_index_whose_columns_do_not_fit_is_refused(index_file, change, message):
    with h5py.File(index_file, "r+") as file:
        change(file)
    with pytest.raises(DataError, match=message) as caught:
        Index.open(index_file)
    assert str(index_file) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"not HDF5", index_bytes()[:2000]])
def test_what_is_no_index_is_refused(tmp_path, content):
    path = tmp_path / "index.h5"
    path.write_bytes(content)
    with pytest.raises(DataError, match="not an index"):
        Index.open(path)


@pytest.mark.slow
def test_the_index_of_a_million_samples_opens_in_no_time_and_little_memory(tmp_path):
    n, parts = 1_000_000, 22  # a record, ten frames, a spectrogram, ten fields of flow
    path = tmp_path / "index.h5"
    strings = {"classes": [b"a", b"b"], "splits": [b"train"], "shards": [b"train/000000.tar"]}
    with h5py.File(path, "w", libver=("v110", "v110")) as file:
        for name, values in {**strings, "parts": [b"json", b"frames", b"flow"]}.items():
            file[name] = np.array(values)
        file["key"] = np.char.add(b"clip_", np.arange(n).astype("S7"))
        file["label"] = (np.arange(n) % 2).astype("<u2")
        file["split"] = np.zeros(n, "u1")
        file["shard"] = np.zeros(n, "<u4")
        file["start"] = np.arange(n, dtype="<u8") * 300_000
        file["first"] = np.arange(n, dtype="<u8") * parts
        file["counts"] = np.tile(np.array([[1, 11, 10]], "<u2"), (n, 1))
        file["size"] = np.full(n * parts, 9000, "<u4")
        file["crc"] = np.full(n * parts, 7, "<u4")
    script = """
import resource, sys
from pathlib import Path
from mmprep.format import Index
import mmprep.format.index
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
index = Index.open(Path(sys.argv[1]))
members = index.members(987_654)
print(len(index), len(members["flow"]), members["json"][0].offset,
      resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    seen = subprocess.run(
        [sys.executable, "-c", script, path], check=True, capture_output=True, text=True
    )
    count, flows, offset, kilobytes = seen.stdout.split()
    assert (int(count), int(flows), int(offset)) == (n, 10, 987_654 * 300_000 + 512)
    assert int(kilobytes) < 100_000


# Reading a shard without an index


def test_members_are_read_forward_with_their_offsets():
    data, _, _ = written()
    found = {name: (offset, len(d)) for name, offset, d in read_members(io.BytesIO(data), "here")}
    assert found == BY_HAND


def archive_of(kind, name, linkname=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, linkname
    return info.tobuf(tarfile.USTAR_FORMAT) + bytes(1024)


@pytest.mark.parametrize(
    "data",
    [
        archive_of(tarfile.SYMTYPE, "a.json", "/etc/passwd"),
        archive_of(tarfile.LNKTYPE, "a.json", "b.json"),
        archive_of(tarfile.DIRTYPE, "a"),
        archive_of(tarfile.CHRTYPE, "a.json"),
        archive_of(tarfile.FIFOTYPE, "a.json"),
        archive_of(tarfile.XHDTYPE, "a.json"),
        archive_of(tarfile.GNUTYPE_LONGNAME, "a.json"),
        archive_of(tarfile.GNUTYPE_SPARSE, "a.json"),
        archive_of(tarfile.REGTYPE, "/etc/passwd"),
        archive_of(tarfile.REGTYPE, "../a.json"),
        archive_of(tarfile.REGTYPE, "b/a.json"),
        archive_of(tarfile.REGTYPE, ".a.json"),
        archive_of(tarfile.REGTYPE, ""),
    ],
)
def test_links_folders_and_paths_are_refused(data):
    with pytest.raises(DataError, match=r"here: .* is not a plain file of a sample"):
        list(read_members(io.BytesIO(data), "here"))


@pytest.mark.parametrize("size", [-512, 1 << 33, 1 << 62])
def test_sizes_that_no_member_has_are_refused(size):
    info = tarfile.TarInfo("a.json")
    info.size = size
    data = info.tobuf(tarfile.GNU_FORMAT) + bytes(4096)
    with pytest.raises(DataError, match=r"here: 'a\.json'"):
        list(read_members(io.BytesIO(data), "here"))


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        (0, "no tar header at byte 0"),
        (100, "no tar header at byte 0"),
        (512, "ends inside 'a.json'"),
        (1023, "ends inside 'a.json'"),
        (1024, "no tar header at byte 1024"),
        (SIZE_BY_HAND - 1024, f"no tar header at byte {SIZE_BY_HAND - 1024}"),
    ],
)
def test_a_shard_that_ends_early_is_refused(cut, message):
    with pytest.raises(DataError, match=message):
        list(read_members(io.BytesIO(written()[0][:cut]), "here"))


def test_a_header_with_a_flipped_bit_is_refused():
    data = bytearray(written()[0])
    data[1024 + 3] ^= 1
    with pytest.raises(DataError, match="no tar header at byte 1024"):
        list(read_members(io.BytesIO(data), "here"))


def test_the_header_is_the_one_of_python_tar():
    block = header("a.json", 12)
    assert len(block) == 512
    info = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
    assert (info.name, info.size, info.mode) == ("a.json", 12, 0o644)
    assert struct.unpack_from("6s2s", block, 257) == (b"ustar\0", b"00")
