"""Pages of the public interface: a line for mkdocstrings for each name that a package exports."""

from collections.abc import Iterator
from importlib import import_module

_MORE = {
    "mmprep": (),
    "mmtrain": (
        "mmtrain.methods.base.Run",
        "mmtrain.methods.base.state",
        "mmtrain.plugins.allowing",
    ),
}
_HEADS = {
    "mmprep": "Raw videos to shards, from Python.",
    "mmtrain": "Training on shards, from Python. `Run` is what a method of your own calls.",
}


def exported(package: str) -> list[str]:
    """Full name of each object that ``package`` exports."""
    module = import_module(package)
    objects = [getattr(module, name) for name in module.__all__]
    return [f"{each.__module__}.{each.__qualname__}" for each in objects]


def reference_pages() -> Iterator[tuple[str, str]]:
    """Yields path and Markdown of the page of each package."""
    for package, head in _HEADS.items():
        names = [*exported(package), *_MORE[package]]
        lines = [f"::: {name}" for name in names]
        yield f"reference/{package}.md", "\n\n".join([f"# {package}", head, *lines]) + "\n"
