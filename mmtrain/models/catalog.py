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
            "resnet:ResNet18",
            "He et al., CVPR 2016",
            "ResNet-18, from scratch or from ImageNet weights in a file; the papers' encoder.",
        ),
        Entry(
            "small-cnn",
            "small_cnn:SmallCNN",
            "-",
            "Four convolutions normalised by group, for tiny inputs and for the CPU.",
        ),
        Entry(
            "resnet50",
            "resnet:ResNet50",
            "He et al., CVPR 2016",
            "ResNet-50, from scratch or from ImageNet weights in a file.",
        ),
        Entry(
            "tsn",
            "tsn:TSN",
            "Wang et al., ECCV 2016",
            "ResNet-18 on one picture from the middle of each segment, then their mean.",
        ),
        Entry(
            "tsm",
            "tsm:TSM",
            "Lin et al., ICCV 2019",
            "ResNet-18 whose residual branches see channels of the pictures before and after.",
        ),
        Entry(
            "timm",
            "from_timm:Timm",
            "-",
            "Any image model of the timm library by name (extra `timm`).",
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
        Entry(
            "mlp",
            "mlp:MLP",
            "Wei et al., TPAMI 2024",
            "Two layers with ReLU between them on the features side by side.",
        ),
        Entry(
            "mmtm",
            "mmtm:MMTM",
            "Joze et al., CVPR 2020",
            "Encoders gate each other's channels between their stages (`channel` in tables).",
        ),
        Entry(
            "centralnet",
            "centralnet:CentralNet",
            "Vielzeuf et al., ECCV 2018",
            "A central stream takes up the pooled maps of every stage.",
        ),
        Entry(
            "attention",
            "attention:Attention",
            "Akbari et al., NeurIPS 2021",
            "Tokens of each modality attend to those of the others in a transformer block.",
        ),
        Entry(
            "ml-lstm",
            "ml_lstm:MLLSTM",
            "Nie et al., MTAP 2021",
            "An LSTM reads the modalities one after another, at every stage.",
        ),
        Entry(
            "lmf",
            "lmf:LMF",
            "Liu et al., ACL 2018",
            "All products of the modalities' features, through factors of low rank.",
        ),
    ),
)
