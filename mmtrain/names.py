"""Names as people type them: other case, underscores, and the field's other words for our names."""

from collections.abc import Iterable, Mapping
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
