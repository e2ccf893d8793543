"""Numbers by name, as one parameter of a method takes them."""

from collections.abc import Sequence

from mmtrain.errors import ConfigError


def named_numbers(setting: str, text: str, names: Sequence[str]) -> dict[str, float]:
    """Name to its number, in the order of ``names``, from ``audio=0.4,visual=0.6``.

    Args:
        setting: Name of the parameter, for messages.
        text: Text of the parameter.
        names: Names that must have a number, each once.

    Raises:
        ConfigError: A name is missing or unknown, or a number is not above 0.
    """
    try:
        pairs = (pair.split("=") for pair in text.split(","))
        numbers = {name.strip(): float(value) for name, value in pairs}
    except ValueError:
        numbers = {}
    if {*numbers} != {*names} or not all(0 < n < float("inf") for n in numbers.values()):
        example = ",".join(f"{name}=0.5" for name in names)
        raise ConfigError(f"{setting} are numbers above 0, such as {example}; got {text!r}")
    return {name: numbers[name] for name in names}
