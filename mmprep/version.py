"""The version of both packages, in a module that imports nothing."""

from typing import Final

VERSION: Final = "0.2.0"
