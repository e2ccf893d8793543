"""Damage by a seed: to bytes, to JSON values, and to the structure of HDF5 files."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

# What stands in the place of a JSON value: other types, edges of numbers, names that lead out.
STRANGE: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 10**30, -(2**63), 0.5, -0.0, 1e308),
    *("", "x", "..", "../../etc/passwd", "/etc/passwd", "a\0b", "\x1b[31m", "a" * 5000),
    *([], {}, [[]], {"": None}, [None] * 50, {"a": {"b": [1]}}, "\ud800"),
)
RAW = (
    "NaN",
    "Infinity",
    "1e999",
    "1" * 5000,
    "[" * 3000 + "]" * 3000,
    '{"a":' * 900 + "0" + "}" * 900,
)


def mutate_bytes(data: bytes, rng: random.Random) -> bytes:
    """One of: flipped bits, a cut, inserted or removed bytes, swapped or overwritten blocks."""
    kind = rng.randrange(8)
    buffer = bytearray(data)
    size = max(1, len(buffer))
    at, length = rng.randrange(size), rng.choice((1, 2, 8, 64, 512))
    if kind == 0 or not buffer:
        for _ in range(rng.choice((1, 1, 1, 4, 32))):
            if buffer:
                buffer[rng.randrange(size)] ^= 1 << rng.randrange(8)
    elif kind == 1:
        del buffer[at:]
    elif kind == 2:
        buffer[at:at] = rng.randbytes(length)
    elif kind == 3:
        del buffer[at : at + length]
    elif kind == 4:
        other = rng.randrange(size)
        one, two = bytes(buffer[at : at + length]), bytes(buffer[other : other + length])
        buffer[at : at + len(two)] = two
        buffer[other : other + len(one)] = one
    elif kind == 5:
        buffer[at : at + length] = bytes([rng.choice((0, 0xFF, 0x80, 0x20))]) * length
    elif kind == 6:
        width = rng.choice((1, 2, 4, 8))
        value = rng.choice((0, 1, 2 ** (8 * width) - 1, 2 ** (8 * width - 1), 2 ** (4 * width)))
        buffer[at : at + width] = value.to_bytes(width, rng.choice(("little", "big")))
    else:
        buffer += rng.randbytes(length)
    return bytes(buffer)


def plain_text(plain: Any) -> bytes:
    """JSON text; half a surrogate pair becomes its escape."""
    return json.dumps(plain, indent=1).encode()


def mutate_json(
    data: bytes, rng: random.Random, write: Callable[[Any], bytes] = plain_text
) -> bytes:
    """Replaces, removes, adds or renames one value of a JSON text.

    Args:
        data: Text.
        rng: Source of the damage.
        write: Function that makes the text; it may put hashes right again.
    """
    plain = json.loads(data)
    places = list(_places(plain))
    if not places or rng.random() < 0.05:
        return rng.choice(RAW).encode()
    holder, name = rng.choice(places)
    kind = rng.randrange(10)
    if kind == 0:
        del holder[name]
    elif kind == 1 and isinstance(holder, dict):
        holder[str(rng.choice(STRANGE[13:]))[:60]] = holder.pop(name)
    elif kind == 2 and isinstance(holder, list):
        holder.append(holder[name])
    elif kind == 3:
        text = json.dumps(plain)
        marked = json.dumps(_with(plain, holder, name, "@@"))
        return (marked.replace('"@@"', rng.choice(RAW), 1) if marked != text else text).encode()
    else:
        holder[name] = rng.choice(STRANGE)
    try:
        return write(plain)
    except (TypeError, ValueError, KeyError, AttributeError):
        return plain_text(plain)


def _places(plain: Any) -> Any:
    if not isinstance(plain, (dict, list)):
        return
    for name, value in list(plain.items() if isinstance(plain, dict) else enumerate(plain)):
        yield plain, name
        yield from _places(value)


def _with(plain: Any, holder: Any, name: Any, value: Any) -> Any:
    holder[name] = value
    return plain


def mutate_hdf5(path: Path, canary: Path, rng: random.Random, group: str = "/") -> str:
    """Turns one table of a group into another kind of thing, and returns the kind.

    Args:
        path: File to change.
        canary: HDF5 file of the user, with a table ``canary``, which must never be read.
        rng: Source of the damage.
        group: Group with the table.
    """
    with h5py.File(path, "r+") as whole:
        file = whole[group]
        name = rng.choice(sorted(file))
        hard = file.get(name, getlink=True)
        values = np.asarray(file[name]) if isinstance(hard, h5py.HardLink) else np.zeros(3, "<u4")
        shape = values.shape or (1,)
        del file[name]
        kind = rng.choice(sorted(KINDS))
        KINDS[kind](file, name, values.reshape(shape), canary)
    return f"{name} as {kind}"


def _make_virtual(file: h5py.File, name: str, values: Any, canary: Path) -> None:
    layout = h5py.VirtualLayout(values.shape, values.dtype)
    source = h5py.VirtualSource(str(canary), "canary", values.shape, values.dtype)
    layout[...] = source
    file.create_virtual_dataset(name, layout)


def _make_external(file: h5py.File, name: str, values: Any, canary: Path) -> None:
    stored = [(str(canary), 0, h5py.h5f.UNLIMITED)]
    file.create_dataset(name, shape=values.shape, dtype=values.dtype, external=stored)


def _make_strings(file: h5py.File, name: str, values: Any, canary: Path) -> None:
    file.create_dataset(
        name, data=np.full(values.shape, "pointer", object), dtype=h5py.string_dtype()
    )


def _make_pointers(file: h5py.File, name: str, values: Any, canary: Path) -> None:
    _make_strings(file, name, values, canary)
    place, size = file[name].id.get_offset(), values.size * 16
    file.file.flush()
    if place is not None:
        with open(file.file.filename, "r+b") as raw:
            raw.seek(place)
            raw.write((0xDEADBEE0000).to_bytes(8, "little") * (size // 8))


def _made(make: Callable[[Any], Any]) -> Callable[[h5py.File, str, Any, Path], None]:
    def put(file: h5py.File, name: str, values: Any, canary: Path) -> None:
        file[name] = make(values)

    return put


KINDS: dict[str, Callable[[h5py.File, str, Any, Path], None]] = {
    "an external link": lambda f, n, v, c: f.__setitem__(n, h5py.ExternalLink(str(c), "canary")),
    "a link to a pipe": lambda f, n, v, c: f.__setitem__(
        n, h5py.ExternalLink(str(c) + ".pipe", "x")
    ),
    "a soft link": lambda f, n, v, c: f.__setitem__(n, h5py.SoftLink("/label")),
    "a link to itself": lambda f, n, v, c: f.__setitem__(n, h5py.SoftLink(f"/{n}")),
    "a virtual table": _make_virtual,
    "external storage": _make_external,
    "strings": _make_strings,
    "pointers": _make_pointers,
    "a group": lambda f, n, v, c: f.create_group(n),
    "compressed": lambda f, n, v, c: f.create_dataset(n, data=v, compression="gzip", chunks=True),
    "a scalar": lambda f, n, v, c: f.create_dataset(n, data=5),
    "empty": lambda f, n, v, c: f.create_dataset(n, data=h5py.Empty("f")),
    "a column more": _made(lambda v: np.stack([v, v])),
    "a row more": _made(lambda v: np.concatenate([v, v[-1:]])),
    "no rows": _made(lambda v: v[:0]),
    "other numbers": _made(lambda v: np.zeros(v.shape, "<f8")),
    "swapped bytes": _made(lambda v: v.astype(v.dtype.newbyteorder(">"))),
    "compound": _made(lambda v: np.zeros(v.shape, [("a", "<u4"), ("b", "S3")])),
    "references": lambda f, n, v, c: f.create_dataset(n, v.shape, h5py.ref_dtype),
    "huge": lambda f, n, v, c: f.create_dataset(
        n, (2**40, *v.shape[1:]), v.dtype, chunks=(1, *v.shape[1:])
    ),
    "largest values": _made(
        lambda v: np.full(v.shape, np.frombuffer(b"\xff" * v.dtype.itemsize, v.dtype)[0])
    ),
    "one value": _made(lambda v: np.concatenate([v[-1:], v[1:]])),
}
