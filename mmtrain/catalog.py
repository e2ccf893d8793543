"""What can be named on the command line: one line each, loaded by name.

The registry, the lists of the command line and the tables of the README are this data. Nothing is
imported until it is loaded, so that listing is cheap.
"""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar

from mmtrain.errors import UnknownName

if TYPE_CHECKING:
    from mmtrain.curricula.base import Curriculum
    from mmtrain.methods import Method
    from mmtrain.models.encoders import Encoder
    from mmtrain.models.fusions import Fusion

Made = TypeVar("Made", covariant=True)


class Entry(NamedTuple):
    """One line of a catalog.

    Attributes:
        name: As the command line takes it.
        target: ``module:class``, below the package of its catalog.
        paper: Authors, venue and year; ``-`` where there is none.
        summary: One sentence.
        curriculum: Of a method, the curriculum that is part of it.
    """

    name: str
    target: str
    paper: str
    summary: str
    curriculum: str | None = None


class Parameter(NamedTuple):
    """What a user may set: a keyword-only argument, its default, and its line of the docstring."""

    name: str
    default: object
    help: str


@dataclass(frozen=True)
class Explanation:
    """An entry in full: its docstring, which holds the equation, and its parameters."""

    entry: Entry
    text: str
    parameters: tuple[Parameter, ...]


@dataclass(frozen=True)
class Catalog(Generic[Made]):
    """Entries of one kind, in the order in which they are shown.

    Attributes:
        kind: What one entry is.
        plural: What the list is called, on the command line and in JSON.
        package: Where the targets are.
        entries: The lines.
    """

    kind: str
    plural: str
    package: str
    entries: tuple[Entry, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Every name."""
        return tuple(entry.name for entry in self.entries)

    def entry(self, name: str) -> Entry:
        """The line of ``name``.

        Raises:
            UnknownName: There is none; the message offers the nearest.
        """
        for entry in self.entries:
            if entry.name == name:
                return entry
        raise UnknownName(self.kind, name, self.names)

    def load(self, name: str) -> Callable[..., Made]:
        """The class that ``name`` stands for.

        Raises:
            UnknownName: There is none.
        """
        module, _, attribute = self.entry(name).target.partition(":")
        found: Callable[..., Made] = getattr(import_module(f"{self.package}.{module}"), attribute)
        return found

    def explain(self, name: str) -> Explanation:
        """What ``name`` does and what one may set; this loads it.

        Raises:
            UnknownName: There is none.
        """
        found = self.load(name)
        text, _, arguments = (inspect.getdoc(found) or "").partition("\n\nArgs:\n")
        helps = _helps(arguments)
        return Explanation(
            entry=self.entry(name),
            text=text,
            parameters=tuple(
                Parameter(p.name, p.default, helps.get(p.name, ""))
                for p in inspect.signature(found).parameters.values()
                if p.kind is p.KEYWORD_ONLY
            ),
        )

    def markdown(self) -> str:
        """The table of the README."""
        rows = [("name", "what it does", "paper"), ("---",) * 3]
        rows += [(f"`{e.name}`", e.summary, e.paper) for e in self.entries]
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _helps(arguments: str) -> dict[str, str]:
    """Name to description of a Google docstring's ``Args:``, lines joined."""
    block = re.split(r"^\S", arguments, maxsplit=1, flags=re.MULTILINE)[0]
    found = re.findall(r"^    (\w+): (.*(?:\n {5,}.*)*)", block, flags=re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in found}


ENCODERS: Final["Catalog[Encoder]"] = Catalog(
    "encoder",
    "encoders",
    "mmtrain.models.encoders",
    (
        Entry(
            "resnet18",
            "resnet18:ResNet18",
            "He et al., CVPR 2016",
            "ResNet-18, from scratch or from ImageNet weights in a file; what the papers use.",
        ),
        Entry(
            "small-cnn",
            "small_cnn:SmallCNN",
            "-",
            "Four convolutions normalised by group, for tiny inputs and for the CPU.",
        ),
    ),
)

FUSIONS: Final["Catalog[Fusion]"] = Catalog(
    "fusion",
    "fusions",
    "mmtrain.models.fusions",
    (
        Entry(
            "concat",
            "concat:Concat",
            "Wei et al., TPAMI 2024",
            "One linear layer on the features side by side.",
        ),
        Entry("sum", "sum:Sum", "Wei et al., TPAMI 2024", "The sum of each modality's own logits."),
        Entry(
            "weight",
            "weight:Weight",
            "Yang et al., IJCAI 2019",
            "Each modality's own logits, weighted for every sample by a score of its features.",
        ),
        Entry(
            "film",
            "film:Film",
            "Perez et al., AAAI 2018",
            "One modality scales and shifts the features of the others.",
        ),
        Entry(
            "gated",
            "gated:Gated",
            "Kiela et al., AAAI 2018",
            "One modality opens and closes the features of the others.",
        ),
    ),
)

METHODS: Final["Catalog[Method]"] = Catalog(
    "method",
    "methods",
    "mmtrain.methods",
    (
        Entry("joint", "base:Method", "-", "One cross-entropy on the fused logits."),
        Entry(
            "multitask",
            "multitask:Multitask",
            "Wei & Hu, ICML 2024",
            "A cross-entropy on the fused logits and one on each modality's own head.",
        ),
        Entry(
            "bss-h",
            "multitask:Multitask",
            "Guan et al., IJCAI 2025",
            "`multitask` on the most balanced share of the data, which grows.",
            curriculum="bss-h",
        ),
        Entry(
            "bss-l",
            "multitask:Multitask",
            "Guan et al., IJCAI 2025",
            "`multitask` on an order in which balanced samples come early.",
            curriculum="bss-l",
        ),
    ),
)

CURRICULA: Final["Catalog[Curriculum]"] = Catalog(
    "curriculum",
    "curricula",
    "mmtrain.curricula",
    (
        Entry(
            "uniform",
            "uniform:Uniform",
            "-",
            "Every sample once an epoch, in an order drawn anew each time.",
        ),
        Entry(
            "bss-h",
            "bss:BSSH",
            "Guan et al., IJCAI 2025",
            "The most balanced share of the samples, which grows to all of them.",
        ),
        Entry(
            "bss-l",
            "bss:BSSL",
            "Guan et al., IJCAI 2025",
            "Every sample, in an order drawn so that the most balanced come early.",
        ),
    ),
)

CATALOGS: Final = (METHODS, CURRICULA, ENCODERS, FUSIONS)
