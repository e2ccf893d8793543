"""TOML files that a package has for the command line by name, and files of the user's own."""

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from mmtrain.errors import ConfigError, UnknownName


@dataclass(frozen=True, kw_only=True)
class Shelf:
    """The files of one kind.

    Attributes:
        kind: Noun for one file, in messages.
        package: Package in which they lie.
    """

    kind: str
    package: str

    def names(self) -> tuple[str, ...]:
        """Names of our files, without the suffix, in order."""
        files = (file.name for file in resources.files(self.package).iterdir())
        return tuple(sorted(name[: -len(".toml")] for name in files if name.endswith(".toml")))

    def text(self, name: str) -> str:
        """Text of a file, with its comments.

        Args:
            name: Name of one of ours, or a file that ends in ``.toml``.

        Raises:
            UnknownName: There is no such name.
            ConfigError: The file cannot be read.
        """
        if name.endswith(".toml"):
            try:
                return Path(name).read_text("utf-8")
            except (OSError, UnicodeError) as error:
                raise ConfigError(f"cannot read the {self.kind} {name}: {error}") from error
        if name not in self.names():
            raise UnknownName(self.kind, name, self.names())
        return (resources.files(self.package) / f"{name}.toml").read_text("utf-8")
