"""Lines of the encoders and the fusions, and which encoder a kind of input has by default."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mmtrain.models.encoders import Encoder
    from mmtrain.models.fusions import Fusion
from mmtrain.catalog import Catalog, Entry
from mmtrain.errors import ConfigError
from mmtrain.modalities import MODALITIES, PICTURES, SEQUENCE, SPECTROGRAM, TOKENS

_PICTURES: Final = (PICTURES, SPECTROGRAM)

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
            takes=_PICTURES,
        ),
        Entry(
            "small-cnn",
            "small_cnn:SmallCNN",
            "-",
            "Four convolutions normalised by group, for tiny inputs and for the CPU.",
            takes=_PICTURES,
        ),
        Entry(
            "resnet50",
            "resnet:ResNet50",
            "He et al., CVPR 2016",
            "ResNet-50, from scratch or from ImageNet weights in a file.",
            takes=_PICTURES,
        ),
        Entry(
            "tsn",
            "tsn:TSN",
            "Wang et al., ECCV 2016",
            "ResNet-18 on one picture from the middle of each segment, then their mean.",
            takes=_PICTURES,
        ),
        Entry(
            "tsm",
            "tsm:TSM",
            "Lin et al., ICCV 2019",
            "ResNet-18 whose residual branches see channels of the pictures before and after.",
            takes=_PICTURES,
        ),
        Entry(
            "timm",
            "from_timm:Timm",
            "-",
            "Any image model of the timm library by name (extra `timm`).",
            takes=_PICTURES,
        ),
        Entry(
            "text-cnn",
            "text_cnn:TextCNN",
            "Kim, EMNLP 2014",
            "Convolutions over three, four and five tokens, and the largest answer of each.",
            takes=(TOKENS,),
        ),
        Entry(
            "transformer",
            "transformer:Transformer",
            "Vaswani et al., NeurIPS 2017",
            "A transformer from scratch over tokens or steps, and their mean.",
            takes=(TOKENS, SEQUENCE),
        ),
        Entry(
            "projection",
            "projection:Projection",
            "Pappagari et al., ICASSP 2020",
            "One layer on the mean step: embeddings from a file, as of a speaker; our reading.",
            takes=(SEQUENCE,),
        ),
        Entry(
            "transformers",
            "from_transformers:Transformers",
            "-",
            "A pretrained model of a local folder in Hugging Face layout (extra `transformers`).",
            takes=(TOKENS, PICTURES),
        ),
    ),
)
# Kind of input to its encoder where the one for all modalities does not take it.
_DEFAULTS: Final[Mapping[str, str]] = {TOKENS: "text-cnn", SEQUENCE: "transformer"}
_SUGGESTED: Final[Mapping[str, str]] = {
    PICTURES: "resnet18",
    SPECTROGRAM: "resnet18",
    **_DEFAULTS,
}


def kinds_of(name: str) -> tuple[str, ...]:
    """Kinds of input that the encoder ``name`` takes; a plug-in is loaded for it.

    Raises:
        UnknownName: There is no such encoder.
        ConfigError: A plug-in cannot be imported.
    """
    entry = ENCODERS.entry(name)
    return ENCODERS.target(name).kinds if entry.origin else entry.takes


def encoder_for(modality: str, common: str) -> str:
    """Encoder of a modality for which none was named.

    Args:
        modality: Name of the modality.
        common: Encoder of all modalities that have no other.
    """
    kind = MODALITIES[modality].kind if modality in MODALITIES else PICTURES
    if kind not in _DEFAULTS or kind in kinds_of(common):
        return common
    return _DEFAULTS[kind]


def require_kind(modality: str, encoder: str) -> None:
    """Refuses an encoder that does not take the kind of a modality.

    Raises:
        ConfigError: It takes other kinds.
    """
    kind = MODALITIES[modality].kind
    takes = kinds_of(encoder)
    if kind not in takes:
        example = _SUGGESTED.get(kind, "FILE.py:CLASS")
        raise ConfigError(
            f"{modality} has {kind}, and the encoder {encoder} takes {' and '.join(takes)}; choose "
            f"--encoder {modality}={example}"
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
        Entry(
            "avga",
            "avga:AVGA",
            "Tian et al., ECCV 2018",
            "Audio guides attention to pictures, and LSTMs label segments; layout by our reading.",
        ),
        Entry(
            "psp",
            "psp:PSP",
            "Zhou et al., CVPR 2021",
            "Segments take from matching segments of other modalities; layout by our reading.",
        ),
        Entry(
            "avsdn",
            "avsdn:AVSDN",
            "Lin et al., ICASSP 2019",
            "An LSTM labels segments from the states of one for each modality; our reading.",
        ),
        Entry(
            "mwtsm",
            "mwtsm:MWTSM",
            "Wei et al., TPAMI 2024",
            "Time windows of all modalities attend to each other; our reading of Ghaleb et al.",
        ),
        Entry(
            "avsd",
            "avsd:AVSD",
            "Schwartz et al., CVPR 2019",
            "A question attends to the steps of each other modality; our reading.",
        ),
        Entry(
            "panoavqa",
            "panoavqa:PanoAVQA",
            "Yun et al., ICCV 2021",
            "Words, steps of sound and places attend to each other in a transformer; our reading.",
        ),
    ),
)
