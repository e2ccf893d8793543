"""The kinds of figures, one line each; nothing heavy is imported until one is drawn."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from mmtrain.errors import ConfigError, UnknownName


class Option(NamedTuple):
    """A key of ``[[figures]]``.

    Attributes:
        name: Name of the key.
        types: Types of its value.
        text: Meaning of its value.
        choices: Values that it may have; empty for any of the types.
        needed: Whether it must be there.
        names: Whether its value becomes part of the figure's name.
    """

    name: str
    types: tuple[type, ...]
    text: str
    choices: tuple[str, ...] = ()
    needed: bool = False
    names: bool = False

    def check(self, kind: str, value: Any) -> None:
        """Refuses a value of another type, or none of the choices.

        Raises:
            ConfigError: The value has another type.
            UnknownName: It is no choice.
        """
        # To Python, true is a number too.
        if not isinstance(value, self.types) or isinstance(value, bool):
            raise ConfigError(f"{self.name} of the figure {kind} is the {self.text}; got {value!r}")
        if self.choices and value not in self.choices:
            raise UnknownName(f"{self.name} of the figure {kind}", str(value), self.choices)


@dataclass(frozen=True)
class Kind:
    """One line of the catalog.

    Attributes:
        name: Name in study files.
        target: Function that draws it, as ``module:function`` below this package.
        summary: Sentence about what it shows.
        options: Options besides those of every kind.
    """

    name: str
    target: str
    summary: str
    options: tuple[Option, ...] = ()


_MEASURE: Final = Option("measure", (str,), "measure that is drawn, such as map", names=True)
_SPLIT: Final = Option("split", (str,), "split of RUN/eval-SPLIT.json")
_MOST: Final = Option("most", (int,), "largest number of classes that are drawn")
_LINES: Final = (
    Kind(
        "accuracy",
        "accuracy:draw",
        "The measure of every row with interval and seeds; controls are lines.",
        (_MEASURE, Option("style", (str,), "dots or bars", ("dots", "bars"))),
    ),
    Kind(
        "curves",
        "curves:draw",
        "A logged quantity by epoch, a line a row, with a band over seeds.",
        (Option("quantity", (str,), "name such as train_loss, map, k", needed=True, names=True),),
    ),
    Kind(
        "discrepancy",
        "discrepancy:draw",
        "How far modalities are apart on val, by epoch, a line a row.",
        (Option("of", (str,), "rho, or gap of accuracies", ("rho", "gap"), names=True),),
    ),
    Kind(
        "modalities",
        "modalities:draw",
        "The measure of all modalities together and of each one's own logits, by row.",
        (_MEASURE,),
    ),
    Kind(
        "sweep",
        "sweep:draw",
        "The measure by one number that rows or a grid differ in; by two as a heat map.",
        (
            _MEASURE,
            Option("x", (str,), "parameter on the horizontal axis"),
            Option("y", (str,), "second parameter of a heat map"),
            Option("of", (str,), "rows, or points of the grid [tune]", ("rows", "tune")),
        ),
    ),
    Kind(
        "missing",
        "robustness:draw_missing",
        "The measure where shares of the samples lack modalities, as OGM and OPM's Fig. 6.",
        (_MEASURE, _SPLIT),
    ),
    Kind(
        "noise",
        "robustness:draw_noise",
        "The measure by the level of noise on a modality.",
        (_MEASURE, _SPLIT),
    ),
    Kind("probes", "probes:draw", "Quality of the encoders by epoch, measured by linear probes."),
    Kind("time", "time:draw", "Seconds of an epoch by row, and their ratio to the baseline."),
    Kind(
        "classes",
        "classes:draw",
        "Difference from the baseline for each class, fused and by modality.",
        (_MOST,),
    ),
    Kind("stages", "stages:draw", "The measure after each stage of methods that take turns."),
)
FIGURES: Final[Mapping[str, Kind]] = {kind.name: kind for kind in _LINES}
KINDS: Final = tuple(FIGURES)
