"""Traits of tasks, and the refusal of a method or curriculum whose equations need one that lacks.

Needs the standard library only.
"""

from collections.abc import Mapping
from typing import Final, TypeAlias

from mmtrain.errors import ConfigError

# Trait to the use that a method makes of it: a clause, for the message.
Needs: TypeAlias = Mapping[str, str]

PROBABILITY: Final = "probabilities of classes"
ACCURACY: Final = "predictions that are right or wrong"
CLASSES: Final = "one class for each sample"
# Of every task that chooses between classes, once for a sample or several times.
OF_DECISIONS: Final = frozenset((PROBABILITY, ACCURACY))
OF_CLASSES: Final = OF_DECISIONS | {CLASSES}


def require(kind: str, name: str, needs: Needs, task: str, gives: frozenset[str]) -> None:
    """Refuses what needs a trait that the task lacks.

    Args:
        kind: Noun for what has the needs: method or curriculum.
        name: Its name.
        needs: Its needs.
        task: Name of the task.
        gives: Traits of the task.

    Raises:
        ConfigError: A trait is missing; names all three.
    """
    for trait, use in needs.items():
        if trait not in gives:
            raise ConfigError(
                f"{name} needs {trait}, for {use}; the task {task} has none. Choose another "
                f"{kind}, or another task that the data allow, such as --set task=classification"
            )
