"""Encoders of texts and sequences: padding counts nowhere, and stages are the encoder."""

import math

import pytest
import torch
from torch import nn

from mmtrain.errors import ConfigError, UnknownName
from mmtrain.modalities import SEQUENCE, TOKENS
from mmtrain.models.catalog import ENCODERS
from mmtrain.models.encoders import InputSize
from mmtrain.models.encoders.text_cnn import TextCNN
from mmtrain.models.encoders.transformer import Transformer, sinusoidal
from mmtrain.models.fusions.centralnet import CentralNet
from mmtrain.models.fusions.mmtm import MMTM
from mmtrain.models.fusions.stages import Widths
from mmtrain.models.layers import seeded

LENGTH = 12
TEXT = InputSize(50, TOKENS, (LENGTH,))
STEPS = InputSize(5, SEQUENCE, (LENGTH, 6))
CASES = {
    "text-cnn": lambda: TextCNN(TEXT, width=32, embedding=8),
    "transformer": lambda: Transformer(TEXT, width=32),
    "learned": lambda: Transformer(TEXT, width=32, positions="learned"),
    "steps": lambda: Transformer(STEPS, width=32, layers=3),
}
every = pytest.mark.parametrize("name", CASES)


def made(name):
    with seeded(3):
        return CASES[name]().eval()


def inputs_of(name, *lengths):
    """Random texts or sequences of some numbers of real steps."""
    noise = torch.Generator().manual_seed(7)
    real = torch.arange(LENGTH) < torch.tensor(lengths)[:, None]
    if name == "steps":
        values = torch.randn(len(lengths), LENGTH, 5, generator=noise)
        return torch.cat([values * real[..., None], real[..., None].float()], dim=-1)
    return torch.randint(1, 50, (len(lengths), LENGTH), generator=noise) * real


def cut(inputs, steps):
    return inputs[:, :steps]


@every
@torch.no_grad()
def test_padding_changes_nothing(name):
    encoder, inputs = made(name), inputs_of(name, 6, 6)

    torch.testing.assert_close(encoder(cut(inputs, 6)), encoder(inputs))
    torch.testing.assert_close(encoder(inputs)[:1], encoder(inputs[:1]))


@every
@torch.no_grad()
def test_nothing_but_padding_has_the_feature_0(name):
    encoder, inputs = made(name), inputs_of(name, 12, 0, 1)

    features = encoder(inputs)

    assert features.shape == (3, encoder.width)
    assert features.isfinite().all()
    assert not features[1].any()
    assert features[0].any()
    assert features[2].any()


@every
def test_gradients_are_finite_and_reach_every_parameter(name):
    encoder = made(name).train()

    encoder(inputs_of(name, 12, 4, 0)).square().sum().backward()

    for parameter, value in encoder.named_parameters():
        assert value.grad is not None, parameter
        assert value.grad.isfinite().all(), parameter
        assert value.grad.any(), parameter


@every
@torch.no_grad()
def test_the_stages_in_turn_are_the_encoder(name):
    encoder, inputs = made(name), inputs_of(name, 12, 5, 1)

    maps, pooled = encoder.begin(inputs), []
    for stage in encoder.stages():
        maps = stage(maps)
        pooled.append(encoder.pool(maps))

    assert torch.equal(encoder.finish(maps), encoder(inputs))
    assert tuple(vector.shape[1] for vector in pooled) == encoder.stage_widths
    gates = torch.rand(3, encoder.stage_widths[-1])
    torch.testing.assert_close(encoder.pool(encoder.gate(maps, gates)), pooled[-1] * gates)


@every
@torch.no_grad()
def test_tokens_are_0_at_padding(name):
    encoder, inputs = made(name), inputs_of(name, 12, 5, 0)

    tokens = encoder.tokens(inputs)

    assert tokens.shape == (3, LENGTH, encoder.token_width)
    assert tokens[0].abs().sum(-1).all()
    assert not tokens[1, 5:].any()
    assert not tokens[2].any()


@every
def test_filters_are_matrices_that_train(name):
    encoder = made(name)

    filters = encoder.filters()

    assert {len(weight) for weight in filters} <= {11, 10, 32, 128}
    assert {*filters} <= {*encoder.parameters()}
    encoder.requires_grad_(False)
    assert not encoder.filters()


@torch.no_grad()
def test_text_cnn_by_hand():
    # Token t is embedded as t. The span of 3 sums its window, of 4 and 5 give -1 everywhere.
    encoder = TextCNN(InputSize(9, TOKENS, (4,)), width=3, embedding=1)
    encoder.embed.weight.copy_(torch.arange(9.0)[:, None])
    for convolution, weight, bias in zip(encoder.convolutions, (1, 0, 0), (0, -1, -1), strict=True):
        nn.init.constant_(convolution.weight, weight)
        nn.init.constant_(convolution.bias, bias)

    # Windows around 1, 5, 2: 0 + 1 + 5, 1 + 5 + 2, 5 + 2 + 0. Around padding 2 + 0 + 0, uncounted.
    assert encoder(torch.tensor([[1, 5, 2, 0], [0, 0, 0, 0]])).tolist() == [[8, 0, 0], [0, 0, 0]]


def test_text_cnn_shares_any_width_among_its_spans():
    for width in (3, 64, 128, 512):
        encoder = TextCNN(TEXT, width=width, embedding=4)
        counts = [len(weight) for weight in encoder.filters()]
        assert sum(counts) == width
        assert max(counts) - min(counts) <= 1
    with pytest.raises(ConfigError, match="width is 3 or more"):
        TextCNN(TEXT, width=2)


def test_sinusoidal_positions_by_hand():
    # Width 4: angles t and t / 100.
    found = sinusoidal(3, 4)[2].tolist()

    assert found == pytest.approx([math.sin(2), math.cos(2), math.sin(0.02), math.cos(0.02)])
    assert sinusoidal(3, 5).shape == (3, 5)


@torch.no_grad()
def test_the_order_of_steps_counts():
    for name in ("transformer", "learned", "steps"):
        encoder, inputs = made(name), inputs_of(name, 12)
        assert not torch.allclose(encoder(inputs.flip(1)), encoder(inputs)), name


@torch.no_grad()
def test_attention_reaches_every_real_step_and_no_other():
    encoder, inputs = made("steps"), inputs_of("steps", 6)
    other, behind = inputs.clone(), inputs.clone()
    other[0, 5, 0] += 1
    behind[0, 8, 0] += 1  # Behind the end, where nothing looks.

    before = encoder.tokens(inputs)[0]

    assert (encoder.tokens(other)[0, :6] != before[:6]).any(-1).all()
    assert torch.equal(encoder(behind), encoder(inputs))


def test_wrong_sizes_of_a_transformer_are_refused():
    for wrong in ({"layers": 0}, {"heads": 5}, {"heads": 0}, {"dropout": 1.0}):
        with pytest.raises(ConfigError, match="its heads divide width"):
            Transformer(TEXT, **wrong)
    with pytest.raises(UnknownName, match="did you mean learned"):
        Transformer(TEXT, positions="learnt")


def test_every_encoder_takes_what_its_line_of_the_catalog_lists():
    for entry in ENCODERS.entries:
        assert ENCODERS.target(entry.name).kinds == entry.takes, entry.name


@torch.no_grad()
def test_fusions_between_stages_work_with_a_transformer_and_refuse_a_text_cnn():
    nets = {"text": made("transformer"), "speech": made("steps")}
    given = {"text": inputs_of("text", 12, 3, 0), "speech": inputs_of("steps", 12, 3, 0)}
    for fusion in (MMTM(Widths.of(nets), 3, levels=3), CentralNet(Widths.of(nets), 3, levels=3)):
        features = fusion.encode(nets, given)
        assert all(feature.isfinite().all() for feature in features.values())

    with pytest.raises(ConfigError, match=r"last 3 stages of each encoder; that of text has 1"):
        MMTM(Widths.of(nets | {"text": made("text-cnn")}), 3)
