"""MNIST's idx files."""

import gzip
import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from mmprep.clips.decode import idx
from mmprep.errors import DataError

MNIST = Path(__file__).parents[5] / "shared/media/avmnist"
PIXELS = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)


def header(magic: int, *sizes: int) -> bytes:
    return b"".join(n.to_bytes(4, "big") for n in (magic, *sizes))


IMAGES = header(2051, 2, 3, 4) + PIXELS.tobytes()
LABELS = header(2049, 3) + bytes([7, 0, 9])


@pytest.fixture(params=[bytes, gzip.compress], ids=["plain", "gzip"])
def packed(request):
    return request.param


@pytest.fixture
def file(tmp_path):
    return tmp_path / "some-idx3-ubyte.gz"  # the name says nothing: content decides


def test_images_by_hand(file, packed):
    # 0x803 = 2051, then 2 images of 3 rows and 4 columns.
    file.write_bytes(packed(b"\0\0\x08\x03\0\0\0\x02\0\0\0\x03\0\0\0\x04" + bytes(range(24))))

    read = idx.images(file)

    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, PIXELS)


def test_labels_by_hand(file, packed):
    # 0x801 = 2049, then 3 labels.
    file.write_bytes(packed(b"\0\0\x08\x01\0\0\0\x03\x07\0\x09"))

    read = idx.labels(file)

    assert read.dtype == np.uint8
    assert read.tolist() == [7, 0, 9]


def test_one_image_is_that_of_all(file, packed):
    file.write_bytes(packed(IMAGES))

    for number in range(2):
        np.testing.assert_array_equal(idx.image(file, number), PIXELS[number])


def test_a_file_is_unzipped_once_for_all_its_images(file):
    file.write_bytes(gzip.compress(IMAGES))

    first, second = idx.image(file, 0), idx.image(file, 1)

    assert np.shares_memory(first.base, second.base)


def test_a_file_that_was_replaced_is_read_again(file):
    file.write_bytes(IMAGES)
    before = idx.image(file, 0)
    file.write_bytes(header(2051, 2, 3, 4) + bytes(24))
    os.utime(file, (0, 0))

    assert before.any()
    assert not idx.image(file, 0).any()


@pytest.mark.parametrize("number", [-1, 2])
def test_a_number_outside_the_file_is_refused(file, number):
    file.write_bytes(IMAGES)

    with pytest.raises(DataError, match=f"no image {number}, the file has 2"):
        idx.image(file, number)


def test_swapped_files_are_named(file):
    file.write_bytes(LABELS)
    with pytest.raises(DataError, match="holds labels, not images; give the idx file of"):
        idx.images(file)

    file.write_bytes(IMAGES)
    with pytest.raises(DataError, match="holds images, not labels"):
        idx.labels(file)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an idx file"),
        (b"<!DOCTYPE html>", "not an idx file"),
        (b"version https://git-lfs.github.com/spec/v1", "not an idx file"),
        (gzip.compress(b"words", mtime=0), "not an idx file"),
        (IMAGES[:2], "not an idx file"),
        (IMAGES[:10], "the file has 0"),
        (IMAGES[:-1], "promises 2 x 3 x 4 bytes of images, the file has 23"),
        (IMAGES + b"\0", "the file has 25"),
        (header(2051, 2**32 - 1, 2**32 - 1, 2**32 - 1), "the file has 0"),
        (gzip.compress(IMAGES, mtime=0)[:-9], "damaged gzip"),
        (gzip.compress(IMAGES, mtime=0)[:-8] + bytes(8), "damaged gzip"),
        (b"\x1f\x8b" + bytes(range(30)), "damaged gzip"),
    ],
)
def test_a_damaged_file_is_named_with_the_fix(file, content, message):
    file.write_bytes(content)

    with pytest.raises(DataError, match=message) as caught:
        idx.images(file)

    assert str(caught.value).startswith(f"{file}: ")
    assert str(caught.value).endswith("download it again")


@pytest.mark.skipif(not MNIST.is_dir(), reason="needs MNIST's files")
@pytest.mark.parametrize(
    ("part", "count", "images_md5", "labels_md5"),
    [
        ("train", 60_000, "6bbc9ace898e44ae57da46a324031adb", "a25bea736e30d166cdddb491f175f624"),
        ("t10k", 10_000, "2646ac647ad5339dbf082846283269ea", "27ae3e4e09519cfbb04c329615203637"),
    ],
)
def test_the_official_files(part, count, images_md5, labels_md5):
    images = idx.images(MNIST / f"{part}-images-idx3-ubyte.gz")
    labels = idx.labels(MNIST / f"{part}-labels-idx1-ubyte.gz")

    # The published sums are of the whole unpacked files.
    whole = header(2051, count, 28, 28) + images.tobytes()
    assert hashlib.md5(whole).hexdigest() == images_md5
    assert hashlib.md5(header(2049, count) + labels.tobytes()).hexdigest() == labels_md5
