"""The command that has a comparison's folder: one at a time, and tasks of an earlier one stop.

A lock keeps a second command out for as long as the first one lives. Its tasks on other machines
may outlive it, so a file names the command that is in charge, and they look at it now and then.
"""

import fcntl
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mmtrain import files
from mmtrain.errors import ConfigError

IN_CHARGE: Final = ".in-charge"


@dataclass(frozen=True, kw_only=True)
class Charge:
    """One command that has a folder.

    Attributes:
        folder: Folder of the comparison.
        command: Identifier of the command.
    """

    folder: Path
    command: str

    def over(self) -> str | None:
        """Reason for which a task of this command has to stop; None while it is in charge."""
        try:
            command = (self.folder / IN_CHARGE).read_text()
        except FileNotFoundError:
            return (
                f"no command works on {self.folder}: it has ended, or this machine does not share "
                "that folder; give --out a place on a shared file system"
            )
        if command != self.command:
            return f"another command goes on with {self.folder}"
        return None


@contextmanager
def taking_charge(folder: Path) -> Iterator[Charge]:
    """Takes ``folder``, which is made if need be, and gives it back at the end.

    Raises:
        ConfigError: Another command has it.
    """
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    # On the folder itself, so that a kill leaves no lock behind; the kernel lets go of it.
    lock = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                f"{folder}: another command is at work on it; wait for its end, or stop it"
            ) from error
        charge = Charge(folder=folder, command=uuid.uuid4().hex)
        path = folder / IN_CHARGE
        files.replace(path, lambda file: file.write(charge.command.encode()))
        try:
            yield charge
        finally:
            path.unlink(missing_ok=True)
            if made:
                # A request that was refused leaves nothing.
                with suppress(OSError):
                    folder.rmdir()
    finally:
        os.close(lock)
