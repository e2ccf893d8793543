import os
import subprocess
import sys

import pytest

from mmprep.errors import ConfigError, StoreError
from mmprep.storage.store import SCHEMES, BucketStore, LocalStore, open_store


@pytest.fixture(params=["disk", pytest.param("bucket", marks=pytest.mark.network)])
def store(request, tmp_path):
    """An empty place, on disk or in a bucket: both behave alike."""
    if request.param == "disk":
        return open_store(str(tmp_path / "place"))
    return open_store(request.getfixturevalue("bucket"))


def listing(store):
    return dict(store.files())


def test_what_is_written_is_read(store):
    store.write("train/000000.tar", b"abc")
    assert store.read("train/000000.tar") == b"abc"
    assert store.size("train/000000.tar") == 3
    assert listing(store) == {"train/000000.tar": 3}


def test_writing_again_replaces(store):
    store.write("a", b"first, and longer")
    store.write("a", b"second")
    assert store.read("a") == b"second"
    assert listing(store) == {"a": 6}


def test_ranges_are_read(store):
    store.write("a", b"0123456789")
    assert store.read("a", 3) == b"3456789"
    assert store.read("a", 3, 5) == b"34"
    assert store.read("a", 0, 1) == b"0"
    assert store.read("a", 9, 10) == b"9"


def test_ranges_that_hold_nothing_or_reach_beyond_the_end_give_what_is_there(store):
    store.write("a", b"0123456789")
    assert store.read("a", 4, 4) == b""
    assert store.read("a", 0, 0) == b""
    assert store.read("a", 10) == b""
    assert store.read("a", 8, 99) == b"89"


def test_a_file_of_no_bytes_is_a_file(store):
    store.write("a", b"")
    assert store.size("a") == 0
    assert store.read("a") == b""
    with store.open("a") as file:
        assert file.read() == b""


def test_a_file_is_read_forward_in_pieces(store):
    data = os.urandom(3 << 20)
    store.write("a", data)
    with store.open("a") as file:
        assert file.read(10) == data[:10]
        assert file.read(1 << 20) == data[10 : 10 + (1 << 20)]
        assert file.read() == data[10 + (1 << 20) :]
        assert file.read(1) == b""


def test_a_file_in_the_making_is_not_there(store):
    with store.create("train/a") as file:
        file.write(b"abc")
        assert store.size("train/a") is None
    assert store.read("train/a") == b"abc"


def fail_to_make(store, path):
    with store.create(path) as file:
        file.write(b"abc")
        raise ZeroDivisionError


def test_a_file_whose_making_fails_never_is_there(store):
    with pytest.raises(ZeroDivisionError):
        fail_to_make(store, "train/a")
    assert store.size("train/a") is None
    assert listing(store) == {}


def test_a_file_whose_making_anew_fails_stays_as_it_was(store):
    store.write("a", b"old")
    with pytest.raises(ZeroDivisionError):
        fail_to_make(store, "a")
    assert store.read("a") == b"old"
    assert listing(store) == {"a": 3}


def test_moving_replaces(store):
    store.write("new/a", b"new")
    store.write("a", b"old")
    store.move("new/a", "a")
    assert store.read("a") == b"new"
    assert listing(store) == {"a": 3}


def test_deleting_what_is_there_and_what_is_not(store):
    store.write("a/b", b"x")
    store.delete("a/b")
    store.delete("a/b")
    store.delete("never/there")
    assert store.size("a/b") is None
    assert listing(store) == {}


def test_names_of_all_letters(store):
    store.write("ä b/été,1 #2.tar", b"x")
    assert listing(store) == {"ä b/été,1 #2.tar": 1}
    assert store.read("ä b/été,1 #2.tar") == b"x"


def test_nothing_is_where_a_folder_is(store):
    store.write("a/b", b"x")
    assert store.size("a") is None
    assert store.size("a/b/c") is None


def test_neighbours_with_the_same_beginning_are_not_listed(store):
    store.write("a", b"x")
    neighbour = open_store(f"{store.url}-2")
    neighbour.write("a", b"yy")
    assert listing(store) == {"a": 1}
    assert listing(neighbour) == {"a": 2}


@pytest.mark.parametrize(
    "ask",
    [
        lambda store: store.read("train/x"),
        lambda store: store.read("train/x", 1, 2),
        lambda store: store.read("train/x", 1),
        lambda store: store.open("train/x"),
    ],
)
def test_reading_what_is_not_there_names_place_and_path(store, ask):
    with pytest.raises(StoreError, match=r"cannot read .*train/x") as caught:
        ask(store)
    assert store.url in str(caught.value)
    assert "\n" not in str(caught.value)


def test_moving_what_is_not_there_names_place_and_path(store):
    with pytest.raises(StoreError, match=r"cannot write .*train/x"):
        store.move("new/x", "train/x")


def test_the_scheme_chooses_the_store(tmp_path):
    assert isinstance(open_store(str(tmp_path)), LocalStore)
    assert isinstance(open_store("s3://somewhere/below"), BucketStore)


@pytest.mark.parametrize("url", ["ftp://host/x", "hdfs://x/y", "S4://b", "://"])
def test_an_unknown_scheme_is_refused_with_those_that_are_known(url):
    with pytest.raises(ConfigError, match="a place is a folder or one of s3://") as caught:
        open_store(url)
    assert all(f"{scheme}://" in str(caught.value) for scheme in SCHEMES)


# Disk alone


def test_deleting_the_last_file_of_a_folder_removes_the_folder(tmp_path):
    store = LocalStore(tmp_path / "place")
    store.write("a/b/c", b"x")
    store.write("a/d", b"x")
    store.delete("a/b/c")
    assert not (tmp_path / "place/a/b").exists()
    store.delete("a/d")
    assert list((tmp_path / "place").iterdir()) == []


def test_moving_the_last_file_of_a_folder_removes_the_folder(tmp_path):
    store = LocalStore(tmp_path)
    store.write("new/train/a", b"x")
    store.move("new/train/a", "train/a")
    assert [path.name for path in tmp_path.iterdir()] == ["train"]


def test_a_folder_that_is_not_there_is_empty(tmp_path):
    assert list(LocalStore(tmp_path / "nowhere").files()) == []
    assert LocalStore(tmp_path / "nowhere").size("a") is None
    assert not (tmp_path / "nowhere").exists()


def test_links_are_listed_so_that_they_can_be_named(tmp_path):
    store = LocalStore(tmp_path)
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "folder").symlink_to("/usr/share")
    assert set(listing(store)) == {"dangling", "folder"}


@pytest.mark.parametrize("path", ["a", "a/b/c"])
def test_a_file_in_place_of_the_folder_is_named(tmp_path, path):
    (tmp_path / "place").write_text("a file")
    store = LocalStore(tmp_path / "place")
    with pytest.raises(StoreError, match=f"cannot write {tmp_path}/place/{path}: "):
        store.write(path, b"x")
    with pytest.raises(StoreError, match=f"cannot read {tmp_path}/place/{path}: Not a directory"):
        store.read(path)


def test_a_folder_in_place_of_the_file_is_named(tmp_path):
    (tmp_path / "a/b").mkdir(parents=True)
    store = LocalStore(tmp_path)
    with pytest.raises(StoreError, match=f"cannot write {tmp_path}/a: Is a directory"):
        store.write("a", b"x")
    with pytest.raises(StoreError, match=f"cannot read {tmp_path}/a: Is a directory"):
        store.read("a")
    with pytest.raises(StoreError, match=f"cannot delete {tmp_path}/a: Is a directory"):
        store.delete("a")
    assert [path.name for path in tmp_path.rglob("*")] == ["a", "b"]


LIMITED = """
import resource, sys
from pathlib import Path
from mmprep.errors import StoreError
from mmprep.storage.store import LocalStore
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, resource.RLIM_INFINITY))
store = LocalStore(Path(sys.argv[1]))
store.write("train/whole", bytes(4000))
try:
    store.write("train/large", bytes(9000))
except StoreError as error:
    print(error)
"""


def test_a_write_that_the_system_refuses_leaves_what_was_whole_and_nothing_else(tmp_path):
    seen = subprocess.run(
        [sys.executable, "-c", LIMITED, tmp_path], capture_output=True, text=True, check=True
    )
    assert seen.stdout.startswith(
        f"cannot write {tmp_path}/train/large: a file may not be so large"
    )
    assert listing(LocalStore(tmp_path)) == {"train/whole": 4000}


FULL = """
import sys
from pathlib import Path
from mmprep.errors import StoreError
from mmprep.storage.store import LocalStore
store = LocalStore(Path(sys.argv[1]))
store.write("whole", bytes(4000))
try:
    store.write("train/large", bytes(1 << 20))
except StoreError as error:
    print(error)
print(*sorted(store.files()))
"""


def test_a_full_disk_is_named_with_what_to_do(tmp_path):
    mount = f"mount -t tmpfs -o size=100k none {tmp_path}"
    inside = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    if subprocess.run([*inside, mount], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody mount a small disk")
    seen = subprocess.run(
        [*inside, f'{mount} && exec "$0" "$@"', sys.executable, "-c", FULL, tmp_path],
        capture_output=True,
        text=True,
        check=True,
    )
    assert seen.stdout.splitlines() == [
        f"cannot write {tmp_path}/train/large: "
        "the disk is full; free some space and run the same command again",
        "('whole', 4000)",
    ]


# Bucket alone


@pytest.mark.network
def test_a_refusal_of_the_bucket_is_one_line_with_its_reason(bucket, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(StoreError) as caught:
        open_store(bucket).write("a", b"x")
    assert str(caught.value).startswith(f"cannot write {bucket}/a: ")
    assert "SignatureDoesNotMatch" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.network
def test_a_bucket_that_is_not_there_is_named(bucket):
    with pytest.raises(StoreError, match=r"s3://no-such-bucket.*NoSuchBucket"):
        list(open_store("s3://no-such-bucket/place").files())


@pytest.mark.network
def test_an_endpoint_can_be_given_in_place_of_the_environment(bucket, monkeypatch, object_store):
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    open_store(bucket, endpoint=object_store).write("a", b"x")
    assert open_store(bucket, endpoint=object_store).read("a") == b"x"


@pytest.mark.network
def test_a_spool_that_the_disk_refuses_is_a_store_error_and_nothing_is_put(bucket):
    script = """
import resource, sys
from mmprep.errors import StoreError
from mmprep.storage.store import open_store
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, resource.RLIM_INFINITY))
try:
    with open_store(sys.argv[1]).create("train/large") as file:
        file.write(bytes(9000))
except StoreError as error:
    print(error)
"""
    seen = subprocess.run(
        [sys.executable, "-c", script, bucket], capture_output=True, text=True, check=True
    )
    assert seen.stdout.startswith(
        f"cannot write {bucket}/train/large: a file may not be so large here"
    )
    assert listing(open_store(bucket)) == {}
