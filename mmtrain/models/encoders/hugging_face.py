"""Loads a model from a local folder in Hugging Face layout, and what an encoder must know of it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import torch
from torch import nn

from mmtrain.errors import ConfigError
from mmtrain.modalities import TOKENS
from mmtrain.models.encoders.base import InputSize

_CLIP: Final = "clip"
# Layers behind the last state, which texts are not pooled by here; a folder may lack them.
_POOLER: Final = "pooler"
_NAMED: Final = 3  # in a message; the rest is counted


@dataclass(frozen=True, kw_only=True, eq=False)
class Tower:
    """A network for one kind of input.

    Attributes:
        net: Network, which gives the states of its last layer.
        width: Entries of a state.
        is_clip: Whether it is one of the two towers of a CLIP.
        padding: Number of the token that pads.
        projection: Linear layer to the space that both towers of a CLIP share; None elsewhere.
    """

    net: nn.Module
    width: int
    is_clip: bool
    padding: int
    projection: nn.Linear | None


def load_tower(folder: Path, size: InputSize) -> Tower:
    """Loads the network of ``folder`` for inputs of ``size``, in float32; nothing is downloaded.

    Raises:
        ConfigError: The library is not installed, the folder holds no such network, or the input
            does not fit it.
    """
    library = _library()
    for name in ("config.json", "model.safetensors"):
        # Of large models the weights lie in several files, which an index lists.
        if not (folder / name).is_file() and not (folder / f"{name}.index.json").is_file():
            raise ConfigError(
                f"{folder} is no model in Hugging Face layout: there is no {name}; set "
                "encoder.MODALITY.weights to a folder that has one"
            )
    tower = _tower(_loaded(library, folder), of_tokens=size.kind == TOKENS)
    if size.kind == TOKENS:
        _require_vocabulary(folder, tower.net, int(size))
        _require_length(folder, tower.net, size.shape[0])
    else:
        _require_pictures(folder, tower.net, size)
    return tower


def picture_statistics(folder: Path) -> tuple[list[float], list[float]] | None:
    """Mean and standard deviation of the colours that a model was trained with, if it says so.

    Raises:
        ConfigError: ``preprocessor_config.json`` is damaged.
    """
    path = folder / "preprocessor_config.json"
    if not path.is_file():
        return None
    try:
        plain = json.loads(path.read_text("utf-8"))
        mean, std = ([float(x) for x in plain[name]] for name in ("image_mean", "image_std"))
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path} has no image_mean and image_std ({error})") from error
    if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
        raise ConfigError(f"{path}: image_mean and image_std have three values, std above 0")
    return mean, std


def _loaded(library: ModuleType, folder: Path) -> nn.Module:
    """The whole model of a folder.

    Raises:
        ConfigError: The library cannot read it, or a tensor is missing.
    """
    try:
        with _quiet(library):
            model, report = library.AutoModel.from_pretrained(
                str(folder.resolve()),
                local_files_only=True,
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
            )
    except Exception as error:  # The library and its parts raise all kinds.
        reason = str(error).strip().partition("\n")[0][:200]
        raise ConfigError(f"{folder}: the library transformers cannot load it: {reason}") from error
    missing = sorted(name for name in report["missing_keys"] if _POOLER not in name.split("."))
    if missing:
        rest = len(missing) - _NAMED
        more = f" and {rest} more" if rest > 0 else ""
        raise ConfigError(f"{folder}: model.safetensors lacks {', '.join(missing[:_NAMED])}{more}")
    loaded: nn.Module = model
    return loaded


def _tower(model: nn.Module, *, of_tokens: bool) -> Tower:
    config: Any = model.config
    is_clip = config.model_type == _CLIP
    net, projection = model, None
    if is_clip:
        stem, projection_name = (
            ("text_model", "text_projection")
            if of_tokens
            else ("vision_model", "visual_projection")
        )
        net, projection = model.get_submodule(stem), model.get_submodule(projection_name)
        config = net.config
    elif getattr(net, _POOLER, None) is not None:
        net.register_module(_POOLER, None)  # It would never get a gradient.
    assert projection is None or isinstance(projection, nn.Linear)
    return Tower(
        net=net,
        width=config.hidden_size,
        is_clip=is_clip,
        padding=getattr(config, "pad_token_id", None) or 0,
        projection=projection,
    )


def _require_vocabulary(folder: Path, net: Any, size: int) -> None:
    """Refuses texts of another tokenizer: their numbers would mean other words."""
    path = folder / "tokenizer.json"
    count, known = size - 1, int(net.config.vocab_size)
    if path.is_file():
        from tokenizers import Tokenizer

        known = 1 + max(Tokenizer.from_file(str(path)).get_vocab().values())
    if count > known or (path.is_file() and count < known):
        raise ConfigError(
            f"view.tokenizer has {count:,} tokens, and the model of {folder} {known:,}; set "
            f"view.tokenizer={path}"
        )


def _require_length(folder: Path, net: Any, length: int) -> None:
    positions = getattr(getattr(net, "embeddings", None), "position_embeddings", None)
    if positions is None:
        positions = getattr(getattr(net, "embeddings", None), "position_embedding", None)
    if not isinstance(positions, nn.Embedding):
        return
    # RoBERTa counts positions from behind that of the padding.
    most = positions.num_embeddings - (
        0 if positions.padding_idx is None else positions.padding_idx + 1
    )
    if length > most:
        raise ConfigError(
            f"view.length is {length}, and the model of {folder} has {most} positions; set "
            f"view.length={most}"
        )


def _require_pictures(folder: Path, net: Any, size: InputSize) -> None:
    if not hasattr(net.config, "image_size"):
        raise ConfigError(
            f"{folder} holds a {net.config.model_type}, which takes no pictures; choose a ViT or a "
            "CLIP"
        )
    channels = int(size)
    if channels != 3:
        raise ConfigError(f"the model of {folder} takes pictures of 3 channels; got {channels}")
    side = net.config.image_size
    if size.shape and size.shape[-1] != side:
        raise ConfigError(
            f"view.size is {size.shape[-1]}, and the model of {folder} takes pictures of {side} "
            f"pixels; set view.size={side}"
        )


def _library() -> ModuleType:
    try:
        import transformers
    except ImportError as error:
        raise ConfigError(
            "the encoder transformers needs the library of that name; install the extra: "
            "pip install mmprep[transformers]"
        ) from error
    library: ModuleType = transformers
    return library


@contextmanager
def _quiet(library: ModuleType) -> Iterator[None]:
    """Hides the library's progress and its table of surplus tensors; leaves it as it was."""
    log = library.utils.logging
    level, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if bars:
            log.enable_progress_bar()
