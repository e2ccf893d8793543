"""Reads pickled arrays and plain values without executing anything that the file names.

A pickle is a program for a machine with a stack. Python's own machine imports what the program
names and calls it. This one has the same instructions (protocols 0 to 5) without those two: a name
must be one of `mmprep.clips.decode.numpy_state.KNOWN`, and its call makes an array, a container or
bytes from arguments that were checked. Instructions and copies are counted, so a small file takes
no more memory than a large one, and long arrays are views of the file, which processes share.
"""

import codecs
import mmap
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from mmprep.clips.decode.numpy_state import KNOWN, DType, Known, Unfinished, plain_key
from mmprep.errors import DataError

# Instructions of one file, each of which makes one value at most. An array takes a dozen.
_STEPS: Final = 1 << 23
_LONG: Final = 1 << 16
# Bytes that copies of values may take, in those of the file.
_COPIES: Final = 2
_ADVICE: Final = "convert it to .npz with a program that you trust"


def load(path: Path) -> Any:
    """Returns the value that a pickle holds: arrays, containers, texts, bytes and numbers.

    Texts of Python 2 are taken as Latin-1. Arrays may be read-only.

    Raises:
        DataError: The file is damaged, too long, or names something else; the message has the name.
    """
    with path.open("rb") as file:
        if not path.stat().st_size:
            raise DataError(f"{path}: the file has no bytes")
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    try:
        return _Machine(content).run()
    except _Stranger as error:
        raise DataError(
            f"{path}: asks for {error}, and only NumPy arrays and plain values are read; {_ADVICE}"
        ) from error
    except (ValueError, TypeError, IndexError, KeyError, OverflowError, struct.error) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(f"{path}: no pickle of arrays and plain values ({reason})") from error


class _Stranger(Exception):
    """Raised for a name that is not known; holds it."""


class _Machine:
    """Runs one pickle.

    Args:
        content: The file.
    """

    def __init__(self, content: mmap.mmap) -> None:
        self._content = content
        self._view = memoryview(content)
        self._at = 0
        self._copied = 0
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def run(self) -> Any:
        """Returns the value on the stack at the end of the program."""
        content, table = self._content, _INSTRUCTIONS
        for _ in range(_STEPS):
            if self._at >= len(content):
                raise ValueError("it ends before its end")
            code = content[self._at]
            self._at += 1
            if code == _STOP:
                return self._pop()
            step = table.get(code)
            if step is None:
                raise ValueError(f"instruction {bytes([code])!r}, which no protocol to 5 has")
            step(self)
        raise ValueError(f"more than {_STEPS} instructions; store long lists as arrays")

    # Bytes of the program.

    def _take(self, count: int) -> bytes:
        begin, end = self._at, self._at + count
        if count < 0 or end > len(self._content):
            raise ValueError("it ends inside a value")
        self._at = end
        return self._content[begin:end]

    def _raw(self, count: int) -> "bytes | memoryview":
        """Bytes of a value; a view where they are many, as those of an array are."""
        if count < _LONG:
            return self._take(count)
        begin, end = self._at, self._at + count
        if end > len(self._content):
            raise ValueError("it ends inside a value")
        self._at = end
        return self._view[begin:end]

    def _number(self, kind: str) -> Any:
        return struct.unpack(kind, self._take(struct.calcsize(kind)))[0]

    def _line(self) -> bytes:
        end = self._content.find(b"\n", self._at)
        if end < 0:
            raise ValueError("it ends inside a line")
        return self._take(end + 1 - self._at)[:-1]

    def _charge(self, size: int) -> None:
        """Counts bytes and items that are copied, as a small file could ask for many copies."""
        self._copied += size
        if self._copied > _COPIES * len(self._content):
            raise ValueError("more copies of its values than the file has bytes")

    # The stack and the memo.

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _pop(self) -> Any:
        if len(self._stack) <= (self._marks[-1] if self._marks else 0):
            raise ValueError("an instruction without its values")
        return self._stack.pop()

    def _top(self, kind: type) -> Any:
        top = self._pop()
        if type(top) is not kind:
            raise ValueError(f"a {type(top).__name__} where a {kind.__name__} belongs")
        self._stack.append(top)
        return top

    def _marked(self) -> list[Any]:
        """Values above the last mark, taken off with it."""
        if not self._marks:
            raise ValueError("an instruction without its mark")
        at = self._marks.pop()
        items = self._stack[at:]
        del self._stack[at:]
        return items

    def _remember(self, slot: int) -> None:
        value = self._pop()
        self._stack.append(value)
        if isinstance(value, Unfinished):
            value.slots.append(slot)
        self._memo[slot] = value

    def _recall(self, slot: int) -> None:
        self._stack.append(self._memo[slot])

    def _name(self, module: str, name: str) -> None:
        known = KNOWN.get(f"{module} {name}")
        if known is None:
            raise _Stranger(f"{module}.{name}"[:200])
        self._stack.append(known)

    # Instructions that are more than a push.

    def _global(self) -> None:
        module, name = self._line().decode(), self._line().decode()
        self._name(module, name)

    def _instance(self) -> None:
        module, name = self._line().decode(), self._line().decode()
        raise _Stranger(f"an instance of {module}.{name}"[:200])

    def _object(self) -> None:
        raise _Stranger("an instance of a class")

    def _persistent(self) -> None:
        raise _Stranger("a value outside the file (persistent id)")

    def _extension(self) -> None:
        raise _Stranger("a name from a registry (extension code)")

    def _buffer(self) -> None:
        raise _Stranger("a buffer outside the file")

    def _stack_global(self) -> None:
        name, module = self._pop(), self._pop()
        if type(name) is not str or type(module) is not str:
            raise ValueError("a name that is no text")
        self._name(module, name)

    def _reduce(self) -> None:
        arguments, function = self._pop(), self._pop()
        if type(function) is not Known or type(arguments) is not tuple:
            raise ValueError("a call of something that is no function")
        self._charge(len(arguments))
        self._stack.append(function.call(arguments, self._charge))

    def _build(self) -> None:
        state, holder = self._pop(), self._pop()
        if isinstance(holder, DType):
            holder.set_state(state)
            self._stack.append(holder)
            return
        if not isinstance(holder, Unfinished):
            raise ValueError(f"a state for a {type(holder).__name__}")
        array: NDArray[Any] = holder.finish(state, self._charge)
        for slot in holder.slots:
            if self._memo.get(slot) is holder:
                self._memo[slot] = array
        self._stack.append(array)

    def _dup(self) -> None:
        value = self._pop()
        self._stack += [value, value]

    def _pop_or_unmark(self) -> None:
        # Python's own machine takes a mark off where nothing lies above it.
        if self._marks and len(self._stack) == self._marks[-1]:
            self._marks.pop()
        else:
            self._pop()

    def _tuple(self, count: int) -> None:
        items = [self._pop() for _ in range(count)]
        self._stack.append(tuple(items[::-1]))

    def _append(self) -> None:
        value = self._pop()
        self._top(list).append(value)

    def _appends(self) -> None:
        items = self._marked()
        self._top(list).extend(items)

    def _set_item(self) -> None:
        value, key = self._pop(), self._pop()
        self._top(dict)[plain_key(key)] = value

    def _set_items(self) -> None:
        items = self._marked()
        _fill(self._top(dict), items)

    def _dict(self) -> None:
        table: dict[Any, Any] = {}
        _fill(table, self._marked())
        self._stack.append(table)

    def _add_items(self) -> None:
        items = self._marked()
        self._top(set).update(map(plain_key, items))

    def _integer_line(self) -> None:
        text = self._line()
        # Protocol 0 writes truth values as numbers of two digits.
        truth = {b"00": False, b"01": True}.get(text)
        self._stack.append(int(text.rstrip(b"L")) if truth is None else truth)

    def _quoted(self) -> None:
        text = self._line()
        if len(text) < 2 or text[:1] != text[-1:] or text[:1] not in (b'"', b"'"):
            raise ValueError("a text without quotation marks")
        self._stack.append(codecs.escape_decode(text[1:-1])[0].decode("latin-1"))

    def _old_text(self, size: int) -> None:
        self._stack.append(str(self._raw(size), "latin-1"))

    def _unicode(self, size: int) -> None:
        self._stack.append(str(self._raw(size), "utf-8", "surrogatepass"))

    def _long(self, size: int) -> None:
        self._stack.append(int.from_bytes(self._take(size), "little", signed=True))

    def _protocol(self) -> None:
        if (version := self._number("B")) > 5:
            raise ValueError(f"protocol {version}; 0 to 5 are known")


def _fill(table: dict[Any, Any], items: list[Any]) -> None:
    if len(items) % 2:
        raise ValueError("a key without a value")
    for key, value in zip(items[::2], items[1::2], strict=True):
        table[plain_key(key)] = value


_STOP: Final = ord(".")
_BY_LETTER: Final[Mapping[bytes, Callable[[_Machine], object]]] = {
    b"(": lambda m: m._marks.append(len(m._stack)),
    b"0": _Machine._pop_or_unmark,
    b"1": _Machine._marked,
    b"2": _Machine._dup,
    b"F": lambda m: m._push(float(m._line())),
    b"G": lambda m: m._push(m._number(">d")),
    b"I": _Machine._integer_line,
    b"L": _Machine._integer_line,
    b"J": lambda m: m._push(m._number("<i")),
    b"K": lambda m: m._push(m._number("B")),
    b"M": lambda m: m._push(m._number("<H")),
    b"\x8a": lambda m: m._long(m._number("B")),
    b"\x8b": lambda m: m._long(m._number("<i")),
    b"N": lambda m: m._push(None),
    b"\x88": lambda m: m._push(True),
    b"\x89": lambda m: m._push(False),
    b"S": _Machine._quoted,
    b"T": lambda m: m._old_text(m._number("<I")),
    b"U": lambda m: m._old_text(m._number("B")),
    b"V": lambda m: m._push(str(m._line(), "raw-unicode-escape")),
    b"X": lambda m: m._unicode(m._number("<I")),
    b"\x8c": lambda m: m._unicode(m._number("B")),
    b"\x8d": lambda m: m._unicode(m._number("<Q")),
    b"B": lambda m: m._push(m._raw(m._number("<I"))),
    b"C": lambda m: m._push(m._raw(m._number("B"))),
    b"\x8e": lambda m: m._push(m._raw(m._number("<Q"))),
    b"\x96": lambda m: m._push(m._raw(m._number("<Q"))),
    b"]": lambda m: m._push([]),
    b"}": lambda m: m._push({}),
    b")": lambda m: m._push(()),
    b"\x8f": lambda m: m._push(set()),
    b"l": lambda m: m._push(m._marked()),
    b"d": _Machine._dict,
    b"t": lambda m: m._push(tuple(m._marked())),
    b"\x85": lambda m: m._tuple(1),
    b"\x86": lambda m: m._tuple(2),
    b"\x87": lambda m: m._tuple(3),
    b"\x91": lambda m: m._push(frozenset(map(plain_key, m._marked()))),
    b"a": _Machine._append,
    b"e": _Machine._appends,
    b"s": _Machine._set_item,
    b"u": _Machine._set_items,
    b"\x90": _Machine._add_items,
    b"p": lambda m: m._remember(int(m._line())),
    b"q": lambda m: m._remember(m._number("B")),
    b"r": lambda m: m._remember(m._number("<I")),
    b"\x94": lambda m: m._remember(len(m._memo)),
    b"g": lambda m: m._recall(int(m._line())),
    b"h": lambda m: m._recall(m._number("B")),
    b"j": lambda m: m._recall(m._number("<I")),
    b"c": _Machine._global,
    b"\x93": _Machine._stack_global,
    b"R": _Machine._reduce,
    b"b": _Machine._build,
    b"\x80": _Machine._protocol,
    b"\x95": lambda m: m._take(8),
    b"i": _Machine._instance,
    b"o": _Machine._object,
    b"\x81": _Machine._object,
    b"\x92": _Machine._object,
    b"P": _Machine._persistent,
    b"Q": _Machine._persistent,
    b"\x82": _Machine._extension,
    b"\x83": _Machine._extension,
    b"\x84": _Machine._extension,
    b"\x97": _Machine._buffer,
    b"\x98": _Machine._buffer,
}
_INSTRUCTIONS: Final = {ord(letter): step for letter, step in _BY_LETTER.items()}
