"""Arrays by their sources: which files are read, by which names, and what is refused."""

import io
import pickle
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from mmprep.clips.arrays import Arrays
from mmprep.clips.sources import sources
from mmprep.failure import ClipError

VALUES = np.arange(24, dtype="f4").reshape(2, 3, 4)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    np.save(tmp_path / "a.npy", VALUES)
    np.save(tmp_path / "columns.npy", np.asfortranarray(VALUES[0]))
    np.save(tmp_path / "objects.npy", np.array([1, "a"], object), allow_pickle=True)
    np.savez(tmp_path / "a.npz", first=VALUES[0], second=VALUES)
    np.savez_compressed(tmp_path / "deflated.npz", **{"valid/audio": VALUES})
    content = {
        "valid": {"audio": VALUES, 7: [VALUES[0]], b"old": (VALUES[1],)},
        "words": ["a", "b"],
    }
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(content))
    (tmp_path / "old.p").write_bytes(pickle.dumps(content, 0))
    write_csd(tmp_path / "a.csd")
    return tmp_path


def write_csd(path: Path, **options: Any) -> None:
    with h5py.File(path, "w") as file:
        for name, steps in (("v_1", 6), ("v_2", 2)):
            segment = file.create_group(f"COVAREP/data/{name}")
            segment.create_dataset(
                "features", data=np.arange(2.0 * steps).reshape(steps, 2), **options
            )
            begins = np.arange(steps, dtype=float)[:, None]
            segment.create_dataset("intervals", data=np.hstack([begins, begins + 1]))
        file.create_group("COVAREP/metadata")


def read(raw: Path, source: str, span: tuple[float, float] | None = None) -> Any:
    return Arrays(sources(raw)).read(source, span)


def refusal(raw: Path, source: str) -> tuple[str, str]:
    with pytest.raises(ClipError) as caught:
        read(raw, source)
    assert str(raw) not in caught.value.message
    return caught.value.cause, caught.value.message


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a.npy", VALUES),
        ("a.npy#1", VALUES[1]),
        ("columns.npy", VALUES[0]),
        ("a.npz#first", VALUES[0]),
        ("a.npz#second/1", VALUES[1]),
        ("a.npz#second/1/2", VALUES[1, 2]),
        ("deflated.npz#valid/audio/0", VALUES[0]),
        ("a.pkl#valid/audio/1", VALUES[1]),
        ("a.pkl#valid/7/0", VALUES[0]),
        ("a.pkl#valid/old/0", VALUES[1]),
        ("old.p#valid/audio/1", VALUES[1]),
    ],
)
def test_files_and_the_names_in_them(raw: Path, source: str, expected: np.ndarray) -> None:
    values = read(raw, source)
    assert values.tolist() == expected.tolist()
    assert values.dtype == expected.dtype


def test_the_suffix_does_not_matter_where_the_bytes_are_known(raw: Path) -> None:
    (raw / "a.npy").rename(raw / "a.bin")
    assert read(raw, "a.bin#1").tolist() == VALUES[1].tolist()


@pytest.mark.parametrize(
    "options", [{}, {"compression": "gzip", "shuffle": True}, {"chunks": (2, 2)}]
)
def test_computational_sequences(raw: Path, options: dict[str, Any]) -> None:
    write_csd(raw / "a.csd", **options)
    assert read(raw, "a.csd#v_2").tolist() == [[0, 1], [2, 3]]
    # Steps of a second each, whose middle lies in the span: those from 1 and 2.
    assert read(raw, "a.csd#v_1", (1.4, 3.4)).tolist() == [[2, 3], [4, 5]]
    assert read(raw, "a.csd#v_1", (90, np.inf)).shape == (0, 2)


@pytest.mark.parametrize(
    ("source", "cause", "words"),
    [
        ("gone.npy", "missing", "gone"),
        ("../a.npy", "outside-raw", "leads out"),
        ("objects.npy", "not-array", "object"),
        ("a.npy#2", "not-array", "no row '2'"),
        ("a.npy#-1", "not-array", "no row '-1'"),
        ("a.npy#x", "not-array", "no row 'x'"),
        ("a.npz#third", "not-array", "the file has first, second"),
        ("a.npz", "not-array", "the file has first, second"),
        ("a.pkl#test", "not-array", "no 'test' in the file, which has valid, words"),
        ("a.pkl#valid/audio/9", "not-array", "no row '9' of valid/audio, which has 2"),
        ("a.pkl#words/0/0", "not-array", "words/0 is a str"),
        ("a.csd#v_3", "not-array", "no segment 'v_3' among its 2, such as v_1, v_2"),
        ("page.npy", "html-page", "web page"),
        ("pointer.pkl", "lfs-pointer", "git lfs pull"),
        ("empty.npz", "empty", "no bytes"),
        ("a.txt", "not-array", "no .npy"),
        ("evil.pkl", "not-array", "asks for os.system"),
        ("broken.npz", "not-array", "broken.npz"),
        ("broken.csd", "not-array", "broken.csd"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(
    raw: Path, source: str, cause: str, words: str
) -> None:
    (raw / "page.npy").write_text("<!doctype html><p>not found")
    (raw / "pointer.pkl").write_text("version https://git-lfs.github.com/spec/v1\n")
    (raw / "empty.npz").write_bytes(b"")
    (raw / "a.txt").write_text("text")
    (raw / "evil.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    (raw / "broken.npz").write_bytes((raw / "a.npz").read_bytes()[:-30])
    (raw / "broken.csd").write_bytes((raw / "a.csd").read_bytes()[:600])
    name, message = refusal(raw, source)
    assert name == cause
    assert words in message


@pytest.mark.parametrize("kind", ["soft", "external", "virtual", "elsewhere"])
def test_a_csd_that_leads_elsewhere_is_refused(raw: Path, kind: str) -> None:
    with h5py.File(raw / "b.csd", "w") as file:
        segment = file.create_group("a/data/s")
        if kind == "soft":
            segment["features"] = h5py.SoftLink("/nowhere")
        elif kind == "external":
            segment["features"] = h5py.ExternalLink("a.csd", "/COVAREP/data/v_1/features")
        elif kind == "virtual":
            layout = h5py.VirtualLayout((6, 2), "f8")
            layout[...] = h5py.VirtualSource("a.csd", "/COVAREP/data/v_1/features", (6, 2))
            segment.create_virtual_dataset("features", layout)
        else:
            segment.create_dataset("features", (6, 2), "f8", external=[(str(raw / "a.npy"), 0, 96)])
    assert refusal(raw, "b.csd#s")[0] == "not-array"


def test_a_csd_of_texts_is_refused(raw: Path) -> None:
    with h5py.File(raw / "b.csd", "w") as file:
        file["words/data/s/features"] = [["a"], ["b"]]
    assert "numbers are read" in refusal(raw, "b.csd#s")[1]


@pytest.mark.parametrize("shape", ["(9999999999, 9999999999)", "(4, 4)", "(-1, 2)", "('a',)"])
def test_an_npy_file_that_claims_more_than_it_has_is_refused(raw: Path, shape: str) -> None:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    (raw / "b.npy").write_bytes(b"\x93NUMPY\1\0v\0" + header.encode() + bytes(8))
    assert refusal(raw, "b.npy")[0] == "not-array"


def test_a_zip_that_claims_too_much_is_refused(raw: Path) -> None:
    with zipfile.ZipFile(raw / "b.npz", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.npy", bytes(1 << 20))
    content = bytearray((raw / "b.npz").read_bytes())
    at = content.rfind(b"PK\1\2")
    content[at + 24 : at + 28] = (0x7FFFFFFF).to_bytes(4, "little")
    (raw / "b.npz").write_bytes(content)
    assert "2,147,483,647 bytes" in refusal(raw, "b.npz#a")[1]


def test_a_zip_that_leads_outside_itself_is_refused(raw: Path) -> None:
    content = bytearray((raw / "a.npz").read_bytes())
    # The directory begins later than it says, so all members lie in front of the file.
    at = content.rfind(b"PK\5\6")
    begin = int.from_bytes(content[at + 16 : at + 20], "little")
    content[at + 16 : at + 20] = (begin + 5000).to_bytes(4, "little")
    (raw / "b.npz").write_bytes(content)
    assert refusal(raw, "b.npz#first")[0] == "not-array"


def test_a_file_is_opened_once(raw: Path) -> None:
    opened: list[str] = []

    class Counting:
        @contextmanager
        def open(self, source: str) -> Iterator[Path]:
            opened.append(source)
            yield raw / source

    arrays = Arrays(Counting())
    for row in (0, 1, 0):
        assert arrays.read(f"a.pkl#valid/audio/{row}").tolist() == VALUES[row].tolist()
        assert arrays.read(f"a.npy#{row}").tolist() == VALUES[row].tolist()
    assert opened == ["a.pkl", "a.npy"]


def test_the_files_used_last_stay_open(raw: Path) -> None:
    arrays = Arrays(sources(raw))
    for i in range(12):
        np.save(raw / f"{i}.npy", np.full((1, 1), i))
        assert arrays.read(f"{i}.npy").tolist() == [[i]]
    assert list(arrays._files) == [f"{i}.npy" for i in range(4, 12)]


def test_an_array_of_python_2_is_found_by_its_name(raw: Path) -> None:
    stream = io.BytesIO()
    pickle.dump({"train": {"vision": VALUES}}, stream, 2)
    (raw / "b.pkl").write_bytes(stream.getvalue())
    assert read(raw, "b.pkl#train/vision/0").tolist() == VALUES[0].tolist()
