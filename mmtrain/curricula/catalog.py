"""Lines of the curricula."""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mmtrain.curricula.base import Curriculum
from mmtrain.catalog import Catalog, Entry

CURRICULA: Final["Catalog[Curriculum]"] = Catalog(
    "curriculum",
    "curricula",
    "mmtrain.curricula",
    "base:Curriculum",
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
        Entry(
            "smv",
            "smv:SMV",
            "Wei et al., CVPR 2024",
            "Every sample, and again with the modality alone that adds too little to it.",
        ),
        Entry(
            "remix",
            "remix:Remix",
            "Ma et al., ICML 2025",
            "After a warm-up, every sample with its least certain modality alone.",
        ),
    ),
)
