"""JSON files of a run or an export that carry the version of their format."""

from pathlib import Path
from typing import TypeVar

from mmprep.format.damage import naming_damage
from mmprep.format.fields import build, parse_json
from mmtrain.errors import ConfigError

T = TypeVar("T")


def read_versioned(path: Path, kind: type[T], version: int, remedy: str) -> T:
    """Reads a file that holds the fields of a ``kind`` and its ``format``.

    Args:
        path: Place of the file.
        kind: Dataclass of the fields.
        version: Format that this version of the package reads.
        remedy: Advice at the end of the message about a damaged file.

    Raises:
        ConfigError: A newer version wrote it.
        DataError: It is damaged.
    """
    with naming_damage(str(path), remedy):
        plain = {**parse_json(path.read_bytes())}
        written = plain.pop("format")
        if written == version:
            return build(kind, plain)
    raise ConfigError(f"{path}: format {written!r}; this mmtrain reads {version}. Upgrade it")
