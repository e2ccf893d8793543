"""PanoAVQA: tokens of words, sound and places in one transformer."""

import pytest
import torch

from mmtrain.errors import ConfigError
from mmtrain.models.fusions.panoavqa import PanoAVQA
from mmtrain.models.layers import seeded
from tests.mmtrain.models.fusions.test_fusions import features

ASKED = ("audio", "visual", "question")
SMALL = {"words": 4, "steps": 3, "side": 2, "hidden": 8, "layers": 2, "heads": 2}


def made(**settings):
    with seeded(0):
        return PanoAVQA(dict.fromkeys(ASKED, 5), 4, **{**SMALL, **settings})


def test_every_place_of_every_picture_is_a_token():
    fusion = made()

    assert fusion.shapes == {"audio": (3, 1, 5), "visual": (3, 4, 5), "question": (4, 1, 5)}
    assert {m: tuple(e.shape) for m, e in fusion.mixer.embeddings.items()} == {
        "audio": (3, 8),
        "visual": (12, 8),
        "question": (4, 8),
    }


def test_all_parameters_learn():
    fusion = made()

    fusion(features(ASKED, fusion.feature_widths)).square().sum().backward()

    for name, parameter in fusion.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


def test_places_and_words_are_told_apart_by_their_positions():
    fusion = made()
    given = features(ASKED, fusion.feature_widths)

    for modality in ASKED:
        turned = given[modality].view(5, -1, 5).flip(1).flatten(1)
        assert not torch.allclose(fusion({**given, modality: turned}), fusion(given), atol=1e-6)


def test_a_dropped_modality_is_as_one_that_is_not_there():
    # Without audio the answer is the same whatever audio's projection and embedding.
    fusion = made()
    given = features(ASKED, fusion.feature_widths)
    without = {**given, "audio": torch.zeros_like(given["audio"])}
    before = fusion(without)
    with torch.no_grad():
        fusion.mixer.embeddings["audio"].add_(1)
        fusion.mixer.projections["audio"].bias.add_(1)

    torch.testing.assert_close(fusion(without), before)
    assert not torch.allclose(fusion(given), before)


def test_sizes_are_checked():
    with pytest.raises(ConfigError, match=r"panoavqa's layers .* 2 layers, 3 heads, hidden 8"):
        made(heads=3)
    with pytest.raises(ConfigError, match="panoavqa takes sizes of 1 or more; got side 0"):
        made(side=0)
