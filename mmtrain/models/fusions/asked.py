"""Questions about clips: which modality asks, and how many steps each modality has."""

from collections.abc import Mapping

from mmtrain.models.fusions.base import leader

QUESTION = "question"


def asking(kind: str, chosen: str | None, widths: Mapping[str, int]) -> str:
    """The modality that asks: the chosen one, else ``question``, or the first without one.

    Raises:
        ConfigError: There is no other modality to ask about.
        UnknownName: The chosen one is not among them.
    """
    if chosen is None and QUESTION in widths:
        chosen = QUESTION
    return leader(kind, "question", chosen, widths)
