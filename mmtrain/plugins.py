"""Classes of the user's own, named by a file or a module where a catalog takes a name.

``path/to/file.py:Class`` runs the file, ``package.module:Class`` imports the module. The class of
an installed package has a name of its own if the package declares an entry point for it in the
group of the catalog: ``mmtrain.methods``, ``mmtrain.curricula``, ``mmtrain.fusions`` or
``mmtrain.encoders``. Files are not trusted less than packages: both run in this process.

A name that a user gives is loaded without more ado. One that is read from the folder of a run may
be a stranger's, with its file in the same folder: it is loaded only within `allowing`, or where
this process has run the same code already. That a digest agrees with the config proves nothing
here, for whoever wrote the one wrote the other.
"""

import hashlib
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Final

from mmtrain.errors import ConfigError, UnknownName

_ALLOWED: Final = ContextVar("mmtrain_plugins_allowed", default=False)


@contextmanager
def allowing() -> Iterator[None]:
    """Consents to the plug-ins that the runs name which are opened in this context."""
    token = _ALLOWED.set(True)
    try:
        yield
    finally:
        _ALLOWED.reset(token)


def without_consent(names: Iterable[str]) -> list[str]:
    """Plug-ins among ``names`` whose code has not run in this process, outside of `allowing`."""
    if _ALLOWED.get():
        return []
    return [name for name in names if is_plugin(name) and not _is_loaded(name)]


def is_plugin(name: str) -> bool:
    """Whether ``name`` has the form of a plug-in; no name of ours has a colon."""
    return ":" in name or name.endswith(".py")


def split(name: str) -> tuple[str, str]:
    """File or module of a plug-in, and the class in it.

    Raises:
        ConfigError: ``name`` has no class.
    """
    place, _, attribute = name.rpartition(":")
    if not place or not attribute.isidentifier():
        raise ConfigError(f"{name!r} names no class; give one as in path/to/file.py:Class")
    return place, attribute


def absolute(name: str) -> str:
    """``name``, with the whole path of its file: a config holds in whatever folder it is read."""
    if not is_plugin(name):
        return name
    place, attribute = split(name)
    return f"{Path(place).resolve()}:{attribute}" if _is_file(place) else name


def label(name: str) -> str:
    """Short name for tables and folders: the class of a plug-in, any other name as it is."""
    return split(name)[1] if is_plugin(name) else name


def digests(names: Iterable[str]) -> dict[str, str]:
    """Path to SHA-256 of each file that ``names`` name.

    Raises:
        ConfigError: A file cannot be read.
    """
    places = [split(name)[0] for name in names if is_plugin(name)]
    return digests_of_files(place for place in places if _is_file(place))


def digests_of_files(paths: Iterable[str]) -> dict[str, str]:
    """Path to SHA-256 of each file.

    Raises:
        ConfigError: A file cannot be read.
    """
    return {path: hashlib.sha256(_read(Path(path))).hexdigest() for path in paths}


def load(name: str) -> object:
    """Loads the class that ``name`` names.

    Raises:
        ConfigError: The file or module cannot be imported; the message has file and line.
        UnknownName: It has no such class.
    """
    place, attribute = split(name)
    module = _run(Path(place).resolve()) if _is_file(place) else _imported(place)
    if not hasattr(module, attribute):
        classes = [each for each, value in vars(module).items() if isinstance(value, type)]
        raise UnknownName(f"class in {place}", attribute, classes)
    return getattr(module, attribute)


def installed(group: str) -> list[EntryPoint]:
    """Entry points of installed packages in ``group``, by name."""
    return sorted(entry_points(group=group), key=lambda each: (each.name, each.value))


def _is_file(place: str) -> bool:
    return place.endswith(".py") or "/" in place


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error


def _is_loaded(name: str) -> bool:
    """Whether the code behind ``name`` has run in this process."""
    place, _ = split(name)
    path = Path(place).resolve()
    if not _is_file(place):
        return place in sys.modules
    return path.is_file() and _module_name(path, _read(path)) in sys.modules


def _module_name(path: Path, source: bytes) -> str:
    # The digest is in the name: a changed file is another module, and both can be there.
    digest = hashlib.sha256(f"{path}\n".encode() + source).hexdigest()
    return f"mmtrain_plugin_{digest[:32]}"


def _run(path: Path) -> ModuleType:
    """The module of a file; the same one again as long as the file is the same."""
    source = _read(path)
    name = _module_name(path, source)
    if name in sys.modules:
        return sys.modules[name]
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module  # Dataclasses look their module up there.
    try:
        exec(compile(source, str(path), "exec", dont_inherit=True), module.__dict__)
    except Exception as error:
        del sys.modules[name]
        raise ConfigError(f"{_line_of(error, path)}: {_message(error)}") from error
    return module


def _imported(name: str) -> ModuleType:
    try:
        return import_module(name)
    except Exception as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing and f"{name}.".startswith(f"{missing}."):
            raise ConfigError(
                f"no module {missing!r}; install it, or name its file as in path/to/file.py:Class"
            ) from error
        raise ConfigError(f"{name}: {_line_of(error, None)}: {_message(error)}") from error


def _line_of(error: Exception, path: Path | None) -> str:
    """File and line at which an import failed: in ``path`` if it got that far, else the last."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    inside = [frame for frame in frames if path is None or frame.filename == str(path)]
    frame = (inside or frames)[-1]
    return f"{frame.filename}, line {frame.lineno}"


def _message(error: Exception) -> str:
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {text}"
