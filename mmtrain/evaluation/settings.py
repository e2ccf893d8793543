"""Settings of a robustness curve, from texts of the command line and of study files."""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import Final

from mmtrain.errors import ConfigError, UnknownName
from mmtrain.names import MODALITY_ALIASES, canonical

# Values of a range differ from round numbers by no more than the rounding of their sums.
_DIGITS: Final = 10
_MOST: Final = 10_000


def parse_settings(
    texts: Iterable[str], option: str, unit: str, alone: float | None = None
) -> tuple[dict[str, float], ...]:
    """Settings, each a mapping of modality to a number, without repetitions.

    A text joins pairs ``MODALITY=NUMBER`` by commas. A number may be a range ``LOW:HIGH:STEP``,
    with both ends; a text with ranges is one setting for each combination of their values.

    Args:
        texts: Texts such as ``audio=0.3``, ``audio=0.1,visual=0.2`` or ``audio=0:1:0.1``.
        option: Name of the option, for messages.
        unit: Name of the number, for messages, such as ``SHARE``.
        alone: Number of a modality that is named without one; None refuses that.

    Raises:
        ConfigError: A text of another form.
    """
    settings: list[dict[str, float]] = []
    for text in texts:
        axes: dict[str, list[float]] = {}
        for pair in text.split(","):
            name, equals, number = (part.strip() for part in pair.partition("="))
            values = _values(number) if equals else [alone]
            if not name or not values or None in values:
                raise ConfigError(
                    f"{option} takes MODALITY={unit},...; got {text!r}. Say audio=0.3 for one "
                    "modality, audio=0.1,visual=0.2 for both at once, or audio=0:1:0.1 for every "
                    "tenth from 0 to 1"
                )
            modality = canonical(name, MODALITY_ALIASES.values(), MODALITY_ALIASES)
            if modality in axes:
                raise ConfigError(f"{option} {text}: {modality} is there twice; repeat {option}")
            axes[modality] = [value for value in values if value is not None]
        points = product(*axes.values())
        settings += [dict(zip(axes, point, strict=True)) for point in points]
    return tuple(s for i, s in enumerate(settings) if s not in settings[:i])


def modalities_in(settings: Iterable[Mapping[str, float]], modalities: Sequence[str]) -> list[str]:
    """Modalities that some of the settings name, each once.

    Args:
        settings: Settings, each a mapping of modality to a number.
        modalities: Modalities of the model.

    Raises:
        UnknownName: One that the model does not have.
    """
    named = list(dict.fromkeys(m for setting in settings for m in setting))
    for modality in named:
        if modality not in modalities:
            raise UnknownName("modality of this run", modality, modalities)
    return named


def _values(text: str) -> list[float]:
    """Numbers of ``0.3`` or of the range ``0:1:0.1``; none where the text has another form."""
    try:
        numbers = [float(part) for part in text.split(":")]
    except ValueError:
        return []
    if len(numbers) == 1:
        return numbers
    if len(numbers) != 3 or not all(map(math.isfinite, numbers)):
        return []
    low, high, step = numbers
    if step <= 0 or high < low or (high - low) / step > _MOST:
        return []
    count = math.floor((high - low) / step * (1 + 1e-9) + 1e-9) + 1
    return [round(low + i * step, _DIGITS) for i in range(count)]
