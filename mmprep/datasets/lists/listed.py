"""What every reader of lists takes and gives: `Lists` in, `Listed` out."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from mmprep.datasets.spec import Spec
from mmprep.errors import ConfigError

_Option = TypeVar("_Option", str, bool, float, list[str], dict[str, str])  # What TOML has.


@dataclass(frozen=True)
class Lists:
    """Where lists may lie.

    Attributes:
        annotations: The folder of ``--annotations``. Where it is given, lists are looked for there
            and nowhere else.
        raw: The folder of ``--raw``; some data sets ship their lists inside it, or are their own.
        files: What lies in ``--raw``, a folder or a bucket.
    """

    annotations: Path | None
    raw: Path | None
    files: Sequence[str] | None = None

    @cached_property
    def _paths(self) -> dict[str, list[Path]]:
        """Lower-case file name to its paths, the least deep first."""
        root = self.annotations or self.raw
        found: dict[str, list[Path]] = {}
        if root is None:
            return found
        for folder, subfolders, files in os.walk(root):
            subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
            for name in sorted(files):
                if not name.startswith("."):
                    found.setdefault(name.lower(), []).append(Path(folder, name))
        for paths in found.values():
            paths.sort(key=lambda path: (len(path.parts), str(path)))
        return found

    def get(self, names: Sequence[str]) -> Path | None:
        """The file that bears the first of ``names`` for which there is one, at any depth.

        Raises:
            ConfigError: Two different files of that name lie equally deep.
        """
        for name in names:
            paths = self._paths.get(name.lower(), [])
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
        """`get`, or the error that tells where the list comes from and where it goes.

        Raises:
            ConfigError: None of the names is there.
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
    """An entry of the data set's ``[lists]``, checked against the type of ``default``.

    Raises:
        ConfigError: It is of another type.
    """
    value: _Option = spec.lists.get(name, default)
    wanted = (int, float) if isinstance(default, float) else type(default)
    if not isinstance(value, wanted):
        kind = type(default).__name__
        raise ConfigError(f"{spec.name}: lists.{name} is a {kind}; got {value!r}")
    return value


def files(spec: Spec, role: str) -> list[str]:
    """File names, best first, of the list with this role in ``[lists.files]``; may be empty."""
    found = spec.lists.get("files", {}).get(role, [])
    if not isinstance(found, list):
        raise ConfigError(f"{spec.name}: lists.files.{role} is a list of file names; got {found!r}")
    return found
