"""Other streaming libraries, each with a format of its own, behind one interface."""

from importlib import import_module
from typing import Final

from rivals.base import Rival

# Name in the table to the module and class that drives the library.
RIVALS: Final = {
    "ours": "ours:Ours",
    "lancedb": "lance:Lance",
    "spdl": "spdl:Spdl",
    "spdl-own-decoding": "spdl:SpdlDecoding",
    "litdata": "litdata:LitData",
    "mosaicml-streaming": "mosaic:Mosaic",
    "megatron-energon": "energon:Energon",
    "webdataset": "webdataset:WebDataset",
}


def load_rival(name: str) -> type[Rival]:
    """Returns the class of a library.

    Raises:
        ImportError: The library is not installed.
    """
    module, attribute = RIVALS[name].split(":")
    rival: type[Rival] = getattr(import_module(f"rivals.{module}"), attribute)
    return rival
