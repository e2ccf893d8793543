"""Pretrained models in Hugging Face layout, from a folder: text models, ViTs, CLIP's towers."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Final

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from mmtrain.errors import ConfigError, UnknownName
from mmtrain.modalities import PICTURES, TOKENS
from mmtrain.models.encoders.base import Encoder, InputSize, each_picture
from mmtrain.models.encoders.hugging_face import load_tower, picture_statistics
from mmtrain.models.encoders.steps import masked_mean
from mmtrain.models.imagenet import IMAGENET_MEAN, IMAGENET_STD

POOLINGS: Final = ("cls", "mean", "projected")
# Of CLIP's authors, for folders without preprocessor_config.json.
_CLIP_MEAN: Final = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD: Final = (0.26862954, 0.26130258, 0.27577711)


class Transformers(Encoder):
    """A pretrained transformer of a local folder, for texts or for pictures; nothing is downloaded.

    The folder is in Hugging Face layout: ``config.json``, ``model.safetensors`` and, for texts,
    ``tokenizer.json``, which ``view.tokenizer`` must name too. Of a CLIP folder a modality of texts
    takes the text tower, one of pictures the other. Pictures are seen one by one, then their
    features are averaged; they are normalised anew as ``preprocessor_config.json`` says. A tensor
    that the folder lacks is an error. Needs the extra ``transformers``.

    ``phi`` is a vector of the last layer: that of the first token (``cls``; of CLIP's texts that of
    the last token, as CLIP is trained), the mean over real tokens or places (``mean``), or CLIP's
    vector in the space of both towers (``projected``). A text of nothing but padding has 0.

    It has no stages, so fusions that act between stages refuse it.

    Args:
        size: Number of tokens in the vocabulary, padding included, or of the pictures' channels.
        weights: Folder of the model.
        pooling: ``cls``, ``mean`` or ``projected``.
        frozen: Whether the weights stay as they are; dropout is then off as well.
        rate: Factor on the learning rate of its parameters.
    """

    kinds = (TOKENS, PICTURES)

    scale: Tensor
    shift: Tensor

    def __init__(
        self,
        size: InputSize,
        *,
        weights: str | Path | None = None,
        pooling: str = "mean",
        frozen: bool = False,
        rate: float = 1.0,
    ) -> None:
        super().__init__()
        if weights is None:
            raise ConfigError(
                "the encoder transformers has no weights; set encoder.MODALITY.weights to a folder "
                "in Hugging Face layout"
            )
        if pooling not in POOLINGS:
            raise UnknownName("pooling of transformers", pooling, POOLINGS)
        if rate <= 0:
            raise ConfigError(f"transformers' rate is above 0; got {rate}")
        tower = load_tower(Path(weights), size)
        if pooling == "projected" and tower.projection is None:
            raise ConfigError(f"{weights} is no CLIP, so pooling is cls or mean; got {pooling}")
        self.net, self.rate = tower.net, rate
        self.projection = tower.projection if pooling == "projected" else None
        self._pooling, self._frozen, self._is_clip = pooling, frozen, tower.is_clip
        self._of_tokens, self._padding = size.kind == TOKENS, tower.padding
        self._token_width = tower.width
        self.width = tower.width if self.projection is None else self.projection.out_features
        if not self._of_tokens:
            own = (_CLIP_MEAN, _CLIP_STD) if tower.is_clip else (IMAGENET_MEAN, IMAGENET_STD)
            self._normalise_as(*(picture_statistics(Path(weights)) or own))
        if frozen:
            self.requires_grad_(False)

    @classmethod
    def without_files(cls, settings: Mapping[str, object]) -> dict[str, object]:
        """The settings: the folder of the model says which network it is."""
        return dict(settings)

    def train(self, mode: bool = True) -> "Transformers":
        """Sets the mode; a frozen model stays in that of evaluation."""
        super().train(mode and not self._frozen)
        return self

    @property
    def token_width(self) -> int:
        """Entries of each of the `tokens`, before any projection."""
        return self._token_width

    def forward(self, inputs: Shaped[Tensor, "batch ..."]) -> Float[Tensor, "batch features"]:
        """The feature vector of each text or clip."""
        with torch.no_grad() if self._frozen else nullcontext():
            if self._of_tokens:
                return self._of_text(inputs)
            return each_picture(self._of_picture, inputs).mean(1)

    def tokens(self, inputs: Shaped[Tensor, "batch ..."]) -> Float[Tensor, "batch places features"]:
        """States of the last layer at every token, 0 at padding, or at every place of a picture."""
        with torch.no_grad() if self._frozen else nullcontext():
            if self._of_tokens:
                return self._text_states(inputs) * (inputs > 0)[..., None]
            return each_picture(self._picture_states, inputs).flatten(1, 2)

    def filters(self) -> list[Tensor]:
        """Weights of the linear maps, a row for each of their outputs; none if it is frozen."""
        weights = [m.weight for m in self.net.modules() if isinstance(m, nn.Linear)]
        return [weight for weight in weights if weight.requires_grad]

    def _of_text(self, tokens: Int[Tensor, "batch length"]) -> Float[Tensor, "batch features"]:
        states, mask = self._text_states(tokens), tokens > 0
        if self._pooling == "mean":
            return masked_mean(states, mask)
        # CLIP's texts are causal, so that only the last token has seen them all.
        place = (
            mask.sum(1).clamp(min=1) - 1 if self._is_clip else mask.new_zeros(mask.shape[0]).long()
        )
        feature = states[torch.arange(states.shape[0], device=states.device), place]
        return self._projected(feature) * mask.any(1, keepdim=True)

    def _of_picture(
        self, pictures: Float[Tensor, "pictures channels height width"]
    ) -> Float[Tensor, "pictures features"]:
        states = self._picture_states(pictures)
        if self._pooling == "mean":
            return states.mean(1)
        first = states[:, 0]
        return self._projected(
            self.net.get_submodule("post_layernorm")(first) if self._is_clip else first
        )

    def _projected(self, feature: Tensor) -> Tensor:
        return feature if self.projection is None else self.projection(feature)

    def _text_states(
        self, tokens: Int[Tensor, "batch length"]
    ) -> Float[Tensor, "batch length features"]:
        mask = tokens > 0
        ids = torch.where(mask, tokens - 1, self._padding)
        states: Tensor = self.net(
            input_ids=ids, attention_mask=_attended(mask).long()
        ).last_hidden_state
        return states

    def _picture_states(
        self, pictures: Float[Tensor, "pictures channels height width"]
    ) -> Float[Tensor, "pictures places features"]:
        states: Tensor = self.net(pixel_values=pictures * self.scale + self.shift).last_hidden_state
        if states.ndim != 3:
            raise ConfigError(
                f"{type(self.net).__name__} gives no vectors of places; choose a model of tokens, "
                "such as a ViT"
            )
        return states

    def _normalise_as(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Prepares to change frames from ImageNet's mean and deviation to others."""
        own_mean, own_std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
        other_mean, other_std = torch.tensor(mean), torch.tensor(std)
        scale, shift = own_std / other_std, (own_mean - other_mean) / other_std
        self.register_buffer("scale", scale.view(3, 1, 1), persistent=False)
        self.register_buffer("shift", shift.view(3, 1, 1), persistent=False)


def _attended(mask: Bool[Tensor, "batch length"]) -> Bool[Tensor, "batch length"]:
    """The mask with the first token where there is none: a softmax over nothing is NaN."""
    first = torch.zeros_like(mask)
    first[:, 0] = ~mask.any(1)
    return mask | first
