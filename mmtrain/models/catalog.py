"""Lines of the encoders and the fusions."""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mmtrain.models.encoders import Encoder
    from mmtrain.models.fusions import Fusion
from mmtrain.catalog import Catalog, Entry

ENCODERS: Final["Catalog[Encoder]"] = Catalog(
    "encoder",
    "encoders",
    "mmtrain.models.encoders",
    "base:Encoder",
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
    "base:Fusion",
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
