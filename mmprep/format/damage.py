"""Damaged bytes become errors with a name, whatever the parser that met them raises."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from mmprep.errors import ConfigError, DataError, MmprepError

_LONGEST: Final = 200


@contextmanager
def naming_damage(
    place: str, remedy: str = "", fault: str = "damaged, or of another version"
) -> Iterator[None]:
    """Turns an error over the content of a file into a `DataError` that names it.

    Refusals of the disk pass unchanged: they are no fault of the content.

    Args:
        place: Name of the file, with the line or entry where there is one.
        remedy: Advice at the end of the message.
        fault: Words for what is wrong with the file.

    Raises:
        DataError: The body raised an error that has no message for users.
    """
    advice = f"; {remedy}" if remedy else ""
    try:
        yield
    except MmprepError as error:
        if not isinstance(error, ConfigError):
            raise
        # The request of a file is damage, unlike the same request of a command.
        raise DataError(f"{place}: {fault} ({error}){advice}") from error
    # Parsers (json, h5py, numpy, torch) raise nearly every class over damaged bytes, from
    # RecursionError to TokenError. A list of classes would always lack one.
    except Exception as error:
        if isinstance(error, OSError) and error.errno:
            raise
        if isinstance(error, KeyError):
            raise DataError(f"{place}: lacks {_reason(error)}; {fault}{advice}") from error
        raise DataError(f"{place}: {fault} ({_reason(error)}){advice}") from error


def _reason(error: BaseException) -> str:
    """Short text of an error, on one line; its class where it has no text."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
