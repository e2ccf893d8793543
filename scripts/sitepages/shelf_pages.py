"""Pages of the recipes and the studies: each file as it is, with the sources in its comments."""

import tomllib
from collections.abc import Callable, Iterable, Iterator

from mmtrain.comparison import study
from mmtrain.config import recipes

_RECIPES = """# Recipes

Values of the papers for a data set, method by method, each with its source. `--recipe NAME` takes
one; `mmtrain recipes NAME > mine.toml` gives a copy to change, and `--recipe mine.toml` takes that.
`compare` and `study` give all methods one budget: they leave out the epochs, batches, rates and
views of single methods, unless `--budget authors` asks for them.
"""
_STUDIES = """# Studies

Tables, most of them of papers. `mmtrain study NAME` makes one; `mmtrain studies NAME > mine.toml`
gives a copy to change. [Comparisons and studies](guides/studies.md) explains the format.
"""


def shelf_pages() -> Iterator[tuple[str, str]]:
    """Yields path and Markdown of both pages."""
    yield "recipes.md", _page(_RECIPES, recipes.names(), recipes.text)
    yield "studies.md", _page(_STUDIES, study.names(), study.text)


def _page(head: str, names: Iterable[str], text: Callable[[str], str]) -> str:
    files = {name: text(name) for name in names}
    sections = [
        f"## {name}\n\n{tomllib.loads(file)['title']}\n\n```toml\n{file}```"
        for name, file in files.items()
    ]
    return "\n\n".join([head, *sections]) + "\n"
