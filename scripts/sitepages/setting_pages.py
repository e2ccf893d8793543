"""Page of the settings: what ``--set`` takes in both tools, with type, default and meaning."""

import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any

from catalog_pages import default
from prose import line

from mmprep.config import PartsConfig
from mmtrain.config.choices import CATALOGS
from mmtrain.config.run import FREE, TrainConfig

_HEAD = """# Settings

`--set KEY=VALUE` sets one value; it may be repeated. A key may be written in short where only one
setting has that name: `lr=0.1` is `optimizer.lr=0.1`, and `schedule=cosine` is
`schedule.name=cosine`. Values are numbers, words, `true` and `false`, or `none`.

`mmtrain train --set` also takes the parameters of the method, the curriculum, the fusion and the
encoders that are chosen, as `method.alpha=0.3` or `encoder.audio.width=64`. They are on the pages
of the [methods](methods/index.md), [curricula](curricula.md), [fusions](fusions.md) and
[encoders](encoders.md).
"""
_TRAIN = """## Training

Settings of `mmtrain train`, `compare` and `study`. Those marked *free* do not change what a run
computes: a resumed run may have other values.
"""
_BUILD = """## Preparation

Parameters of `mmprep build --set`. They are written into `dataset.json`, and data sets that differ
in one that counts have different root hashes.
"""
_PAGES = {"methods": "methods/index.md"}
# Fields that have an option or a file of their own, or are made by the program.
_NOT_SET = ("data", "encoders", "settings", "plugins", "names")


def setting_page() -> str:
    """Markdown of the page."""
    train = "\n\n".join(_rows(TrainConfig, free=FREE))
    build = "\n\n".join(_rows(PartsConfig))
    return "\n\n".join([_HEAD, _TRAIN, train, _BUILD, build]) + "\n"


def _rows(config: type[Any], prefix: str = "", free: tuple[str, ...] = ()) -> Iterator[str]:
    meanings = _attributes(config)
    for each in fields(config):
        if not prefix and each.name in _NOT_SET:
            continue
        section = each.default_factory
        if is_dataclass(section):
            yield f"### `{each.name}`\n\n{line(meanings[each.name], {})}"
            yield from _rows(section, f"{each.name}.")
        else:
            yield _row(each, prefix, meanings[each.name], free)


def _row(each: Field[Any], prefix: str, meaning: str, free: tuple[str, ...]) -> str:
    kind = (
        each.type if isinstance(each.type, str) else getattr(each.type, "__name__", str(each.type))
    )
    value = each.default if each.default is not MISSING else None
    mark = ", *free*" if each.name in free and not prefix else ""
    for catalog in CATALOGS:
        link = f"[{catalog.plural}]({_PAGES.get(catalog.plural, f'{catalog.plural}.md')})"
        meaning = meaning.replace(
            f"Name in {catalog.plural.upper()}", f"Name of one of the @{link}"
        )
    text = line(meaning, {}).replace("@\\[", "[").replace("\\](", "](")
    return (
        f"`{prefix}{each.name}` = `{default(value)}`\n:   *{kind.replace('|', 'or')}*{mark}. "
        f"{text}{_range(each)}"
    )


def _range(each: Field[Any]) -> str:
    """Sentence on the values that a field takes; empty where its type is all."""
    check = each.metadata.get("check")
    if check is None:
        return ""
    if text := getattr(check, "text", ""):
        return f" A value {text}." if text[0] == "i" else f" {text[0].upper()}{text[1:]}."
    names = inspect.getclosurevars(check).nonlocals["names"]
    return f" One of {', '.join(f'`{name}`' for name in names)}."


def _attributes(config: type[Any]) -> Mapping[str, str]:
    """Name to description of the ``Attributes:`` of a docstring."""
    block = (inspect.getdoc(config) or "").partition("Attributes:\n")[2]
    pairs = re.findall(r"^    (\w+): (.*(?:\n {5,}.*)*)", block, flags=re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in pairs}
