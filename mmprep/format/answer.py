"""Answers: labels of the questions about a clip, which are rows of the index of their own."""

from dataclasses import dataclass
from typing import Final

# Part whose members belong to one row each, where a clip has questions.
QUESTION: Final = "question"
# What stands between the key of a clip and the id of a question in the key of a row.
MARK: Final = "-q"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Label of one question.

    Attributes:
        id: Name of the question, of letters, digits and ``_``.
        label: Class name of the answer.
        group: Type of the question; empty for none.
    """

    id: str
    label: str
    group: str = ""


def row_key(key: str, question: str) -> str:
    """Key of the row of a question about the clip ``key``."""
    return f"{key}{MARK}{question}"


def split_key(key: str) -> tuple[str, str]:
    """Key of the clip and id of the question in the key of a row, as `row_key` joins them."""
    clip, _, question = key.rpartition(MARK)
    return clip, question
