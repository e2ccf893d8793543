"""Names of a package that are imported when they are first used, so that importing it is cheap."""

from collections.abc import Callable, Mapping
from importlib import import_module


def exporter(package: str, homes: Mapping[str, str]) -> Callable[[str], object]:
    """Returns the ``__getattr__`` of ``package``.

    Args:
        package: Name of the package, for the message about an unknown name.
        homes: Exported name to the module that defines it.
    """

    def export(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(homes[name]), name)

    return export
