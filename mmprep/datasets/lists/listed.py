"""Access of readers to list files and to their options in a data set's description."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from mmprep.datasets.spec import Spec
from mmprep.errors import ConfigError

_Option = TypeVar("_Option", str, bool, float, list[str], dict[str, str])  # Types of TOML.


@dataclass(frozen=True)
class Lists:
    """Folders in which lists may lie.

    Attributes:
        annotations: Folder of ``--annotations``; if it is given, lists are looked for only there.
        raw: Folder of ``--raw``; some data sets have their lists in it, or need none but its files.
        files: Paths of all files in ``--raw``, a folder or a bucket.
    """

    annotations: Path | None
    raw: Path | None
    files: Sequence[str] | None = None

    @cached_property
    def _paths(self) -> dict[str, list[Path]]:
        """Paths by file name in lower case, the least deep first."""
        root = self.annotations or self.raw
        by_name: dict[str, list[Path]] = {}
        if root is None:
            return by_name
        for folder, subfolders, files in os.walk(root):
            subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
            for name in sorted(files):
                if not name.startswith("."):
                    by_name.setdefault(name.lower(), []).append(Path(folder, name))
        for paths in by_name.values():
            paths.sort(key=lambda path: (len(path.parts), str(path)))
        return by_name

    def get(self, names: Sequence[str]) -> Path | None:
        """Returns the file with the first of ``names`` that exists, at any depth; else None.

        Args:
            names: File names, best first; one with ``/`` must match the end of a path.

        Raises:
            ConfigError: Two different files with that name lie equally deep.
        """
        for name in names:
            folder, slash, file = name.lower().rpartition("/")
            ends = f"/{folder}" if slash else ""
            paths = [
                path
                for path in self._paths.get(file, [])
                if path.parent.as_posix().lower().endswith(ends)
            ]
            rivals = [path for path in paths[1:] if len(path.parts) == len(paths[0].parts)]
            for rival in rivals:
                if rival.read_bytes() != paths[0].read_bytes():
                    raise ConfigError(
                        f"{paths[0]} and {rival} are different lists of one name; "
                        f"give --annotations the folder of the right one"
                    )
            if paths:
                return paths[0]
        return None

    def need(self, names: Sequence[str], spec: Spec) -> Path:
        """Returns the file that `get` returns, which has to exist.

        Raises:
            ConfigError: There is none; the message explains where to get it and where to put it.
        """
        if path := self.get(names):
            return path
        lists = [d for d in spec.downloads if d.into.startswith("--annotations")]
        sources = "".join(f"\n  {d.what}: {d.url}" for d in lists or spec.downloads)
        aka = f" (also known as {', '.join(names[1:])})" if names[1:] else ""
        where = self.annotations or self.raw or "--annotations, which was not given,"
        put = "put it in a folder and pass that as --annotations" if lists else "put it in --raw"
        raise ConfigError(
            f"{spec.name} needs the list {names[0]}{aka}, and {where} has no such file at any "
            f"depth; {put}. Official sources:{sources or ' none known'}"
        )


def option(spec: Spec, name: str, default: _Option) -> _Option:
    """Returns an entry of the data set's ``[lists]``, checked against the type of ``default``.

    Raises:
        ConfigError: The entry has another type.
    """
    value: _Option = spec.lists.get(name, default)
    wanted = (int, float) if isinstance(default, float) else type(default)
    if not isinstance(value, wanted):
        kind = type(default).__name__
        raise ConfigError(f"{spec.name}: lists.{name} is a {kind}; got {value!r}")
    return value


def files(spec: Spec, role: str) -> list[str]:
    """File names, best first, of the list with this role in ``[lists.files]``; may be empty."""
    names = spec.lists.get("files", {}).get(role, [])
    if not isinstance(names, list):
        raise ConfigError(f"{spec.name}: lists.files.{role} is a list of file names; got {names!r}")
    return names
