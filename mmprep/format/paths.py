"""Paths that a data set names: those of our own files, and the check that all others go through."""

import re
from typing import Final

from mmprep.errors import DataError

STATE: Final = "_build/"
PLAN: Final = STATE + "plan.json"
JOURNAL: Final = STATE + "repair.json"
RUN: Final = STATE + "run"
COPY: Final = STATE + "copy.json"

# No component begins with a dot, so none leads out of the data set or hides; no backslash, colon
# or control character, which another system would read as a folder, a drive or an end.
_SAFE: Final = re.compile(r"\w[\w.-]*(/\w[\w.-]*)*")
_LONGEST: Final = 255
_TASK: Final = re.compile(r"(train|val|test)/[0-9]{6,}")


def safe_path(path: object, origin: str) -> str:
    """Returns ``path`` if it is a relative path in normal form that stays inside the data set.

    Args:
        path: Value that a file of the data set gives as a path.
        origin: Name of that file, with the entry where there is one.

    Raises:
        DataError: It is no such path.
    """
    plain = isinstance(path, str) and len(path) <= _LONGEST and _SAFE.fullmatch(path)
    if not plain:
        raise DataError(f"{origin}: names {path!r:.100}, which is no file of a data set; refused")
    return str(path)


def task_name(name: object, origin: str) -> str:
    """Returns ``name`` if it is the path of a shard without its suffix: ``SPLIT/NUMBER``.

    Raises:
        DataError: It is not.
    """
    path = safe_path(name, origin)
    if not _TASK.fullmatch(path):
        raise DataError(f"{origin}: names the shard {path!r}, which is none of a build; refused")
    return path
