"""Names as people type them and read them: other case, the field's other words, ends of paths."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

MODALITY_ALIASES: Final[Mapping[str, str]] = {
    "video": "visual",
    "rgb": "visual",
    "frames": "visual",
    "sound": "audio",
    "spectrogram": "audio",
    "optical-flow": "flow",
    "caption": "text",
    "sentence": "text",
}
PARAMETER_ALIASES: Final[Mapping[str, str]] = {
    "learning_rate": "optimizer.lr",
    "optimizer.learning_rate": "optimizer.lr",
}


def canonical(name: str, known: Iterable[str], aliases: Mapping[str, str] | None = None) -> str:
    """Our spelling of ``name``, or ``name`` as it is where nothing of ours is meant.

    An unknown name passes through, so that whoever uses it can refuse it and say where it stood.

    Args:
        name: Name as it was given.
        known: Our names.
        aliases: Other words, in lower case, to our names.
    """
    names = tuple(known)
    if name in names:
        return name
    plain = name.strip().lower()
    for spelling in (plain, plain.replace("_", "-"), plain.replace("-", "_")):
        meant = (aliases or {}).get(spelling, spelling)
        if meant in names:
            return meant
    return name


def short_names(folders: Sequence[Path]) -> list[str]:
    """The shortest ends of paths that are different for all ``folders``."""
    whole = [folder.resolve().parts for folder in folders]
    longest = max(map(len, whole))
    for length in range(1, longest + 1):
        short = ["/".join(parts[-length:]) for parts in whole]
        if len(set(short)) == len(short):
            break
    return short
