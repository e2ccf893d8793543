"""Arrays and plain values from the calls that a pickle asks for, without making any such call.

A pickle holds an array as a call of a function of NumPy with a type, a shape and bytes. Those four
are checked here and the array is made from them; NumPy's own functions would trust them, and a type
with forged flags makes them take bytes for addresses. `mmprep.clips.decode.pickled` reads the file.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

# Bytes as they stand in the file: short ones copied, long ones as a view of the file. Pickles of
# Python 2 and of protocols below 3 hold bytes as text of one letter a byte.
Raw: TypeAlias = "bytes | bytearray | memoryview | str"

_DTYPE: Final = re.compile(r"b1|[iu][1248]|f[248]|c8|c16|[SU][1-9][0-9]{0,6}|O[48]?")
_AXES: Final = 32


@dataclass(slots=True, eq=False)
class DType:
    """A type of numbers or texts, whose byte order arrives after its name."""

    code: str
    order: str = "="

    def set_state(self, state: Any) -> None:
        """Takes the byte order; columns, sub-arrays and metadata are refused."""
        if not isinstance(state, tuple) or len(state) < 5 or any(x is not None for x in state[2:5]):
            raise ValueError(f"an array of {self.code} with columns")
        order = _text(state[1])
        if order not in ("<", ">", "=", "|"):
            raise ValueError(f"an array of the byte order {order!r:.20}")
        self.order = order

    def plain(self) -> np.dtype[Any]:
        """The type as NumPy has it."""
        return np.dtype(object) if self.code.startswith("O") else np.dtype(self.order + self.code)


@dataclass(slots=True, eq=False)
class Unfinished:
    """An array whose values arrive after it has been named; ``slots`` of the memo refer to it."""

    slots: list[int] = field(default_factory=list)

    def finish(self, state: Any, charge: Callable[[int], None]) -> NDArray[Any]:
        """Returns the array for the state that NumPy writes: version, shape, type, order, data."""
        if not isinstance(state, tuple) or len(state) not in (4, 5):
            raise ValueError("an array without its values")
        shape, dtype, columns, data = state[-4:]
        return _array(data, dtype, shape, "F" if columns else "C", charge)


@dataclass(frozen=True, slots=True)
class Known:
    """A function that a pickle may name, and what stands in for a call of it.

    Attributes:
        name: Module and name, separated by a blank.
        call: Function of the arguments, and of a function that is charged the size of copies.
    """

    name: str
    call: Callable[[tuple[Any, ...], Callable[[int], None]], Any]


def _array(
    data: Any, dtype: Any, shape: Any, order: str, charge: Callable[[int], None]
) -> NDArray[Any]:
    if not isinstance(dtype, DType) or not isinstance(shape, tuple):
        raise ValueError("an array without type or shape")
    if len(shape) > _AXES or any(type(n) is not int or n < 0 for n in shape):
        raise ValueError(f"an array of the shape {shape!r:.60}")
    count, plain = math.prod(shape), dtype.plain()
    if plain.hasobject:
        return _of_objects(data, count, charge).reshape(shape, order="F" if order == "F" else "C")
    raw = _bytes(data, charge)
    if len(raw) != count * plain.itemsize:
        raise ValueError(f"an array of {shape!r:.60} {plain} in {len(raw)} bytes")
    values = np.frombuffer(raw, plain) if count else np.zeros(0, plain)
    return values.reshape(shape, order="F" if order == "F" else "C")


def _of_objects(data: Any, count: int, charge: Callable[[int], None]) -> NDArray[Any]:
    if not isinstance(data, list) or len(data) != count:
        raise ValueError("an array of objects without its objects")
    charge(count)
    values = np.empty(count, object)
    # One by one, because NumPy would take a list of lists for more dimensions.
    for i, item in enumerate(data):
        values[i] = item
    return values


def _bytes(value: Any, charge: Callable[[int], None]) -> "bytes | bytearray | memoryview":
    if isinstance(value, str):
        charge(len(value))
        return value.encode("latin-1")
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise ValueError(f"{type(value).__name__} where bytes belong")
    return value


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if not isinstance(value, str):
        raise ValueError(f"{type(value).__name__} where a text belongs")
    return value


def _name_of_array(arguments: tuple[Any, ...], charge: Callable[[int], None]) -> Unfinished:
    # Class, shape and type are those of any array; the state that follows has the right ones.
    if not arguments or arguments[0] is not KNOWN["numpy ndarray"]:
        raise ValueError("an array of another class than numpy.ndarray")
    return Unfinished()


def _from_buffer(arguments: tuple[Any, ...], charge: Callable[[int], None]) -> NDArray[Any]:
    data, dtype, shape, order = arguments
    return _array(data, dtype, shape, _text(order), charge)


def _scalar(arguments: tuple[Any, ...], charge: Callable[[int], None]) -> Any:
    dtype, data = arguments
    if not isinstance(dtype, DType) or dtype.code.startswith("O"):
        raise ValueError("a number without a type")
    return _array(data, dtype, (1,), "C", charge)[0].item()


def _dtype(arguments: tuple[Any, ...], charge: Callable[[int], None]) -> DType:
    code = _text(arguments[0])
    if not _DTYPE.fullmatch(code):
        raise ValueError(f"an array of the type {code!r:.40}")
    return DType(code)


def _encoded(arguments: tuple[Any, ...], charge: Callable[[int], None]) -> bytes:
    text, encoding = arguments
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise ValueError(f"bytes in the encoding {encoding!r:.40}")
    charge(len(text))
    return text.encode("latin-1")


def _no_call(arguments: tuple[Any, ...], charge: Callable[[int], None]) -> Any:
    raise ValueError("an array without its values")


def _bytes_of(kind: type) -> Callable[[tuple[Any, ...], Callable[[int], None]], Any]:
    def make(arguments: tuple[Any, ...], charge: Callable[[int], None]) -> Any:
        if not arguments:
            return kind()
        raw = _bytes(arguments[0], charge)
        charge(len(raw))
        return kind(raw)

    return make


def _container_of(kind: type) -> Callable[[tuple[Any, ...], Callable[[int], None]], Any]:
    def make(arguments: tuple[Any, ...], charge: Callable[[int], None]) -> Any:
        items = arguments[0] if arguments else ()
        if len(arguments) > 1 or not isinstance(items, (list, tuple)):
            raise ValueError(f"a {kind.__name__} of something else than a list")
        charge(len(items))
        if kind in (set, frozenset):
            items = [plain_key(item) for item in items]
        return kind(items)

    return make


def _complex(arguments: tuple[Any, ...], charge: Callable[[int], None]) -> complex:
    real, imaginary = arguments
    if not isinstance(real, float) or not isinstance(imaginary, float):
        raise ValueError("a complex number of something else than two numbers")
    return complex(real, imaginary)


def plain_key(value: Any) -> Any:
    """Returns ``value`` if it may be a key or the member of a set, which must be quick to hash.

    The hash of tuples within tuples takes time that doubles with each level.

    Raises:
        ValueError: It is something else than a text, bytes, a number, or a tuple of those.
    """
    items = value if isinstance(value, tuple) else (value,)
    if not all(item is None or isinstance(item, (str, bytes, int, float)) for item in items):
        raise ValueError(f"a key that is a {type(value).__name__}")
    return value


# Names of modules are those of NumPy 1 and 2, and of Python 2 and 3.
_BUILTINS: Final = ("builtins", "__builtin__")
_ARRAYS: Final = ("numpy.core.multiarray", "numpy._core.multiarray")
_NUMERIC: Final = ("numpy.core.numeric", "numpy._core.numeric")
_TABLE: Final = (
    (("numpy",), "ndarray", _no_call),
    (("numpy",), "dtype", _dtype),
    (_ARRAYS, "_reconstruct", _name_of_array),
    (_ARRAYS, "scalar", _scalar),
    (_NUMERIC, "_frombuffer", _from_buffer),
    (("_codecs",), "encode", _encoded),
    (_BUILTINS, "bytes", _bytes_of(bytes)),
    (_BUILTINS, "bytearray", _bytes_of(bytearray)),
    (_BUILTINS, "list", _container_of(list)),
    (_BUILTINS, "tuple", _container_of(tuple)),
    (_BUILTINS, "set", _container_of(set)),
    (_BUILTINS, "frozenset", _container_of(frozenset)),
    (_BUILTINS, "complex", _complex),
)

# Everything that a pickle may name, by module and name.
KNOWN: Final[Mapping[str, Known]] = {
    f"{module} {name}": Known(f"{module} {name}", call)
    for modules, name, call in _TABLE
    for module in modules
}
