"""Engines of both tools by name, and the connection to a Ray cluster.

`mmprep build` has engines that make shards, `mmtrain compare` others that train runs; how one is
found, and how it reaches a cluster, is the same.
"""

import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

from mmprep.errors import ConfigError, UnknownName

# Engine to the package that it needs; `pip install mmprep[ENGINE]` installs it.
_PACKAGES: Final = {"ray": "ray", "slurm": "submitit"}


def load_engine(
    name: str, engines: Mapping[str, str], options: Mapping[str, object] | None = None
) -> Callable[..., Any]:
    """Returns the function of the engine ``name``.

    Args:
        name: Name in ``engines``.
        engines: Name to ``module:function``.
        options: Keyword arguments of this engine alone, such as ``address`` of ``ray``.

    Raises:
        UnknownName: There is no such engine.
        ConfigError: It needs a package that is not installed.
    """
    if name not in engines:
        raise UnknownName("engine", name, engines)
    if name in _PACKAGES and find_spec(_PACKAGES[name]) is None:
        raise ConfigError(f"--engine {name} needs a package: pip install 'mmprep[{name}]'")
    module, _, function = engines[name].partition(":")
    run: Callable[..., Any] = getattr(import_module(module), function)
    return partial(run, **options) if options else run


def parse_value(text: str) -> int | float | str:
    """Value of an option of Slurm: a number where the text is one."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


@contextmanager
def connected_to_ray(address: str | None) -> Iterator[None]:
    """Connects this process to a Ray cluster as a driver, unless it is connected already.

    Args:
        address: Address ``host:port``; None is ``RAY_ADDRESS``, or the cluster of this node.

    Raises:
        ConfigError: There is no cluster.
    """
    import ray

    if ray.is_initialized():
        yield
        return
    # Until the shutdown ends, Ray's threads print lost workers on stdout, which is for results.
    with redirect_stdout(sys.stderr):
        try:
            ray.init(
                address or os.environ.get("RAY_ADDRESS") or "auto",
                logging_level=logging.ERROR,
                log_to_driver=False,
            )
        except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
            where = f"at {address}" if address else "here"
            raise ConfigError(
                f"no Ray cluster {where} ({str(error).strip().splitlines()[0]}). Start one with "
                "`ray start --head`, or name one with --ray-address HOST:PORT"
            ) from error
        try:
            yield
        finally:
            ray.shutdown()
