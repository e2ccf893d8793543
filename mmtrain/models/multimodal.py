"""The model: one encoder a modality, a fusion, and heads of their own where a method adds them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import combinations
from typing import cast

import torch
from torch import Tensor, nn

from mmtrain import modalities
from mmtrain.errors import ConfigError
from mmtrain.modalities import SEQUENCE, TOKENS
from mmtrain.models.encoders import Encoder, InputSize
from mmtrain.models.fusions import Fusion
from mmtrain.models.fusions.base import Features
from mmtrain.models.fusions.stages import Widths
from mmtrain.models.inputs import Preparation, preparation
from mmtrain.models.layers import linear, seeded
from mmtrain.models.pieces import encode_in_pieces
from mmtrain.types import Batch, Inputs, Outputs


class MultimodalModel(nn.Module):
    """Encoders, then a fusion: ``model(batch) = model.classify(model.encode(batch))``.

    A method that works on features goes between the two; one that changes the architecture assigns
    to `fusion` or fills `heads` in its ``setup``. Heads and the fusion's logits are computed in
    float32 whatever the precision of the encoders, so that shares sum to the fused logits.

    Example:
        >>> model = MultimodalModel.build(
        ...     channels_of(batch.inputs),
        ...     {"audio": ENCODERS.load("small-cnn"), "visual": ENCODERS.load("resnet18")},
        ...     partial(FUSIONS.load("concat"), classes=10), seed=0)  # doctest: +SKIP

    Args:
        encoders: Modality to its encoder. They may differ, but not share parameters, for then the
            gradient of one modality would be another's too.
        fusion: Fusion of the same modalities.
        seed: Seed of the heads that are added later.

    Attributes:
        encoders: Modality to its encoder.
        fusion: Features to logits and shares.
        heads: Modality to a head of its own; empty unless a method adds them.
        pieces: Number of pieces in which a batch is encoded, to save memory.

    Raises:
        ConfigError: Modalities or widths of encoders and fusion differ, or parameters are shared.
        UnknownName: A modality that has no preparation.
    """

    __call__: Callable[..., Outputs]

    def __init__(self, encoders: Mapping[str, Encoder], fusion: Fusion, *, seed: int = 0) -> None:
        super().__init__()
        widths = {m: encoder.width for m, encoder in encoders.items()}
        if widths != fusion.widths:
            raise ConfigError(f"the encoders give {widths}, the fusion takes {fusion.widths}")
        for one, other in combinations(encoders, 2):
            if {*encoders[one].parameters()} & {*encoders[other].parameters()}:
                raise ConfigError(f"the encoders of {one} and {other} share parameters")
        self.preparations = nn.ModuleDict({m: preparation(m) for m in encoders})
        self.encoders = nn.ModuleDict(encoders)
        self.fusion = fusion
        self.heads = nn.ModuleDict()
        self.pieces = 1
        self._seed = seed

    @classmethod
    def build(
        cls,
        channels: Mapping[str, int],
        encoders: Mapping[str, Callable[[InputSize], Encoder]],
        fusion: Callable[[Widths], Fusion],
        *,
        seed: int,
    ) -> "MultimodalModel":
        """Makes the model, on the CPU; it depends on ``seed`` only.

        Args:
            channels: Modality to the size of its encoder's input, see `channels_of`; a plain number
                is one of the channels of pictures.
            encoders: Modality to the factory of its encoder, which takes that size.
            fusion: Factory of the fusion, which takes the widths of the encoders.
            seed: Seed of every layer; that of an encoder depends on its modality too, but not on
                the other modalities.

        Raises:
            ConfigError: A modality has no encoder.
        """
        if absent := [m for m in channels if m not in encoders]:
            raise ConfigError(f"no encoder is given for {', '.join(absent)}")
        made = {}
        for name, count in channels.items():
            size = count if isinstance(count, InputSize) else InputSize(count)
            with seeded(seed, "encoder", name):
                made[name] = encoders[name](size)
        with seeded(seed, "fusion"):
            joined = fusion(Widths.of(made))
        return cls(made, joined, seed=seed)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names, in the order in which the model was made."""
        return tuple(self.encoders)

    @property
    def feature_widths(self) -> dict[str, int]:
        """Modality to the width of its features, as `encode` gives them for the present fusion."""
        return self.fusion.feature_widths

    def forward(self, batch: Batch) -> Outputs:
        """Logits, fused and by modality, and features; see `encode` and `classify`.

        Targets are not used. For logits of a subset of the modalities: `Batch.only`.
        """
        return self.classify(self.encode(batch))

    def encode(self, batch: Batch) -> dict[str, Tensor]:
        """Modality to its features (B, width), float32, as the fusion takes them.

        Args:
            batch: Inputs as the stream delivers them, prepared here (`mmtrain.models.inputs`).
                Where a modality is hidden its encoder sees 0 after normalisation (OPM, TPAMI 2024,
                Sec. 4.4.3).
        """
        return self._encode(self.modalities, batch)

    def feature(self, modality: str, batch: Batch) -> Tensor:
        """Features of one modality, (B, width), float32; see `encode`.

        Raises:
            ConfigError: The fusion lets encoders exchange, so that none can run alone.
        """
        if self.fusion.joint:
            raise ConfigError(
                f"{type(self.fusion).__name__.lower()} lets the encoders exchange between their "
                f"stages, so {modality} cannot be encoded or trained alone; choose another fusion "
                "for this method"
            )
        return self._encode((modality,), batch)[modality]

    def _encode(self, modalities: Iterable[str], batch: Batch) -> dict[str, Tensor]:
        encoders = {m: cast(Encoder, self.encoders[m]) for m in modalities}

        def encode(rows: Batch) -> dict[str, Tensor]:
            prepared = {m: self._prepared(m, rows) for m in encoders}
            return {m: x.float() for m, x in self.fusion.encode(encoders, prepared).items()}

        if self.pieces == 1:
            return encode(batch)
        return encode_in_pieces(encode, batch, self.pieces, [*encoders.values(), self.fusion])

    def _prepared(self, modality: str, batch: Batch) -> Tensor:
        """The input of a modality's encoder."""
        if modality not in batch.inputs:
            raise ConfigError(
                f"the batch has no {modality}; this model was made for "
                f"{', '.join(self.modalities)}, the batch holds {', '.join(batch.inputs)}"
            )
        prepared: Tensor = self.preparations[modality](batch.inputs[modality])
        if modality in batch.shown:
            prepare = cast(Preparation, self.preparations[modality])
            prepared = prepare.hide(prepared, batch.shown[modality])
        return prepared

    def classify(self, features: Features) -> Outputs:
        """Logits of ``features``: fused, and for each modality its own head's, or else its share.

        Heads do not change the fused logits.
        """
        device = next(iter(features.values())).device
        with torch.autocast(device.type, enabled=False):
            fused = self.fusion(features)
            logits = self.fusion.split(features)
            logits |= {m: head(features[m]) for m, head in self.heads.items()}
        return Outputs(fused=fused, logits=logits, features=dict(features))

    def add_heads(self, make: Callable[[int, int], nn.Module] = linear) -> nn.ModuleDict:
        """Gives every modality a head of its own, and from then on `Outputs.logits` are theirs.

        For ``setup``: the caller lets the optimizer adopt what is returned. The heads depend on the
        model's seed, are made on its device, and are as wide as the features of the present fusion.

        Args:
            make: Makes a head from the width of its features and the number of classes.

        Example:
            >>> run.adopt(model.add_heads())
        """
        device = next(self.parameters()).device
        for modality, width in self.feature_widths.items():
            with seeded(self._seed, "head", modality):
                self.heads[modality] = make(width, self.fusion.classes).to(device)
        return self.heads

    def parameters_of(self, modality: str) -> Iterator[nn.Parameter]:
        """Parameters of a modality's encoder; those of heads and fusion belong to none."""
        return self.encoders[modality].parameters()

    def gradients(self, modality: str) -> Iterator[Tensor]:
        """Gradients of `parameters_of` that there are, to be edited in place."""
        return (p.grad for p in self.parameters_of(modality) if p.grad is not None)


def channels_of(inputs: Inputs, vocabulary: int | None = None) -> dict[str, InputSize]:
    """Modality to the size of its encoder's input.

    That is the channels of pictures, the features of a step, or the tokens of a vocabulary.

    Args:
        inputs: Inputs of a batch.
        vocabulary: Number of tokens of the texts, padding included, as
            `mmtrain.data.batches.text.vocabulary_of` gives it; needed where there are texts.

    Raises:
        ConfigError: There are texts, and no vocabulary.
    """
    return {m: _input_size(m, x, vocabulary) for m, x in inputs.items()}


def _input_size(name: str, inputs: Tensor, vocabulary: int | None) -> InputSize:
    kind, shape = modalities.modality(name).kind, tuple(inputs.shape[1:])
    if kind == SEQUENCE:
        return InputSize(shape[-1] - 1, kind, shape)  # Without the mask.
    if kind != TOKENS:
        return InputSize(shape[-3], kind, shape)
    if vocabulary is None:
        raise ConfigError(f"the vocabulary of {name} is not known; give channels_of its size")
    return InputSize(vocabulary, kind, shape)
