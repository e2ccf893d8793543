"""Raw files of clips that a stranger may send: arrays, pickles, pictures and texts."""

import json
import pickle
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from PIL import Image

from mmprep.clips.arrays import Arrays
from mmprep.clips.sample import SampleMaker
from mmprep.clips.sources import sources
from mmprep.config import FrameConfig, PartsConfig
from mmprep.errors import DataError
from mmprep.failure import ClipError
from mmprep.manifest import Row
from tests.support.mutants import mutate_bytes, mutate_hdf5

PICTURES = ("a.jpg", "a.gif", "a.png", "a.webp", "a.bmp")
ARRAYS = ("a.npy#1", "a.npz#first", "deflated.npz#first")
_PARTS = ("frames", "text", "speech")
# Instructions of pickles, with some of the values that they take.
_WORDS = (
    *(b"(", b".", b"0", b"1", b"2", b"N", b"]", b"}", b")", b"l", b"d", b"t", b"a", b"e", b"s"),
    *(b"u", b"R", b"b", b"\x85", b"\x86", b"\x87", b"\x8f", b"\x90", b"\x91", b"\x93", b"\x94"),
    *(b"K\x02", b"q\x00", b"h\x00", b"q\x01", b"h\x01", b"U\x02f4", b"C\x08abcdefgh", b"U\x02O8"),
    *(b"cnumpy\ndtype\n", b"cnumpy\nndarray\n", b"cnumpy.core.multiarray\n_reconstruct\n"),
    *(b"cnumpy.core.multiarray\nscalar\n", b"cnumpy.core.numeric\n_frombuffer\n"),
    *(b"cbuiltins\nset\n", b"cbuiltins\nbytearray\n", b"c_codecs\nencode\n", b"U\x06latin1"),
    *(b"cos\nsystem\n", b"I01\n", b"U\x01C", b"(K\x03U\x01<NNNJ\xff\xff\xff\xffK\x01K\x00t"),
)


def write_sources(raw: Path) -> None:
    """Writes a sound file of each kind into ``raw``."""
    raw.mkdir(parents=True)
    values = np.arange(40, dtype="f4").reshape(2, 5, 4)
    np.save(raw / "a.npy", values)
    np.savez(raw / "a.npz", first=values[0], second=values)
    np.savez_compressed(raw / "deflated.npz", first=values[0])
    content = {"valid": {"audio": values, "id": np.array(["a", "b"]), "raw": ["x", b"y", 1, 2.5]}}
    for protocol in range(6):
        (raw / f"{protocol}.pkl").write_bytes(pickle.dumps(content, protocol))
    with h5py.File(raw / "a.csd", "w") as file:
        file["words/data/s/features"] = np.arange(12.0).reshape(6, 2)
        file["words/data/s/intervals"] = np.arange(12.0).reshape(6, 2)
    noise = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    for name in PICTURES:
        Image.fromarray(noise).save(raw / name)
    (raw / "a.txt").write_bytes("Zürich 今日 \U0001f600\r\n".encode())


def in_pickle(folder: Path, canary: Path, rng: random.Random) -> str:
    """Damages a pickle, or writes a program of random instructions in its place."""
    path = folder / "0.pkl"
    if rng.random() < 0.5:
        words = rng.choices(_WORDS, k=rng.randrange(1, 40))
        path.write_bytes(b"".join(words) + b".")
        return "program"
    data = (folder / f"{rng.randrange(6)}.pkl").read_bytes()
    path.write_bytes(mutate_bytes(data, rng))
    return "bytes"


def in_csd(folder: Path, canary: Path, rng: random.Random) -> str:
    """Damages the bytes of a `.csd` file, or what it says of its tables."""
    path = folder / "a.csd"
    if rng.random() < 0.5:
        return mutate_hdf5(path, canary, rng, "words/data/s")
    path.write_bytes(mutate_bytes(path.read_bytes(), rng))
    return "bytes"


def read_arrays(*names: str, span: tuple[float, float] | None = None) -> Callable[[Path], str]:
    """Returns the reader of the arrays ``names``."""

    def read(folder: Path) -> str:
        arrays = Arrays(sources(folder))
        for name in names:
            with _named():
                json.dumps(repr(arrays.read(name, span)))
        return "read"

    return read


def read_samples(*rows: dict[str, str]) -> Callable[[Path], str]:
    """Returns a function that makes a sample of each row of ``sources``."""

    def read(folder: Path) -> str:
        config = PartsConfig(names=_PARTS, frames=FrameConfig(short_side=16))
        maker = SampleMaker(folder, config)
        for row in rows:
            lacking: Any = ("image", "text", "speech")
            with _named():
                maker.make(Row(key="a", label="x", split="train", sources=row, lacking=lacking))
        return "read"

    return read


@contextmanager
def _named() -> Iterator[None]:
    """Turns the refusal of a clip into an error with a name, which its message must allow."""
    try:
        yield
    except ClipError as error:
        raise DataError(f"{error.cause}: {error.message}") from error
