"""AVSD: attention by the question by hand, and where a question ends."""

import pytest
import torch
from torch import nn

from mmtrain.errors import ConfigError, UnknownName
from mmtrain.models.fusions.asked import asking
from mmtrain.models.fusions.attention import attend
from mmtrain.models.fusions.avsd import AVSD, at_last
from mmtrain.models.layers import seeded
from tests.mmtrain.models.fusions.test_fusions import features, rounded

ASKED = ("audio", "visual", "question")
SMALL = {"words": 4, "steps": 3, "hidden": 8}


def made(modalities=ASKED, **settings):
    with seeded(0):
        return AVSD(dict.fromkeys(modalities, 5), 4, **{**SMALL, **settings})


def test_attention_by_the_question_by_hand():
    # Scores (1, 0, 1) / sqrt(2): weights .401112, .197776, .401112.
    keys = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]])

    context = attend(torch.tensor([[[1.0, 0.0]]]), keys, keys)

    assert rounded(context) == [0.80222, 0.59889]


def test_a_question_ends_at_its_last_word():
    # Words 1, 2 and padding; one word; a whole one; nothing but padding.
    steps = torch.tensor([[1.0, 2, 0], [1, 0, 0], [1, 2, 3], [0, 0, 0]])[..., None]
    states = torch.tensor([[10.0, 11, 12]] * 4)[..., None]

    assert at_last(states, steps).flatten().tolist() == [11, 10, 12, 10]


def test_padding_behind_a_question_changes_nothing():
    fusion = made()
    given = {m: x.detach() for m, x in features(ASKED, fusion.feature_widths).items()}
    given["question"][:, 10:] = 0
    longer = made(words=6)
    longer.load_state_dict(fusion.state_dict())

    padded = torch.cat([given["question"], torch.zeros(5, 10)], dim=1)

    torch.testing.assert_close(longer({**given, "question": padded}), fusion(given))


def test_steps_of_each_modality():
    assert made().shapes == {"audio": (3, 1, 5), "visual": (3, 1, 5), "question": (4, 1, 5)}


def test_all_parameters_learn():
    fusion = made()

    fusion(features(ASKED, fusion.feature_widths)).square().sum().backward()

    for name, parameter in fusion.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


def test_the_answer_depends_on_question_and_scene_together():
    fusion = made()
    nn.init.normal_(fusion.hidden.weight)
    given = features(ASKED, fusion.feature_widths)

    interaction = fusion(given) - sum(fusion.split(given).values())

    assert interaction.abs().max() > 1e-3


def test_the_one_that_asks():
    widths = dict.fromkeys(ASKED, 5)

    assert asking("avsd", None, widths) == "question"
    assert asking("avsd", "audio", widths) == "audio"
    assert asking("avsd", None, {"text": 5, "visual": 5}) == "text"
    with pytest.raises(UnknownName, match=r"avsd\.question 'questin'; did you mean question"):
        made(question="questin")
    with pytest.raises(ConfigError, match="avsd needs two modalities or more; got question"):
        made(("question",))
    with pytest.raises(ConfigError, match="avsd takes sizes of 1 or more; got words 0"):
        made(words=0)
