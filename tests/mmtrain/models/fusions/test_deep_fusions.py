"""Values worked out by hand for the fusions that see more than one linear layer."""

import pytest
import torch
from torch import nn

from mmtrain.errors import ConfigError
from mmtrain.models.encoders.small_cnn import SmallCNN
from mmtrain.models.fusions.attention import Attention, attend
from mmtrain.models.fusions.centralnet import CentralNet
from mmtrain.models.fusions.lmf import LMF
from mmtrain.models.fusions.ml_lstm import MLLSTM
from mmtrain.models.fusions.mlp import MLP
from mmtrain.models.fusions.mmtm import MMTM, Exchange
from mmtrain.models.fusions.stages import Widths, last_stages, levels_of
from mmtrain.models.layers import seeded
from tests.mmtrain.models.fusions.test_fusions import PAIR, THREE, TWO, features, fill, rounded

EYE = [[1.0, 0.0], [0.0, 1.0]]


def clips(modalities=TWO, batch=2, time=3):
    noise = torch.Generator().manual_seed(0)
    return {m: torch.randn(batch, time, 1, 16, 16, generator=noise) for m in modalities}


def encoders(modalities=TWO):
    with seeded(0):
        return {m: SmallCNN(1, width=64) for m in modalities}


def test_mlp_by_hand():
    # From the dossier: full (1.7, 0, -1.7), audio (.4, .3, -.7), visual (1.2, 0, -1.2), none
    # (.2, 0, -.2); each share is less half of none.
    fusion = MLP({"audio": 2, "visual": 2}, 3, hidden=2)
    fill(fusion.hidden, [[1.0, -1, 0.5, 0], [0, 1, -0.5, 1]], [0.1, -0.2])
    fill(fusion.head, [[1.0, -1], [0, 1], [-1, 0]], [0.1, 0, -0.1])
    given = {"audio": torch.tensor([[1.0, 0.5]]), "visual": torch.tensor([[2.0, -1.0]])}

    shares = fusion.split(given)

    assert rounded(fusion(given)) == [1.7, 0, -1.7]
    assert rounded(shares["audio"]) == [0.3, 0.3, -0.6]
    assert rounded(shares["visual"]) == [1.1, 0, -1.1]


def test_lmf_by_hand():
    # [phi^a; 1] = (1, 2, 1), [phi^v; 1] = (3, -1, 1): 1 * -1 + 2 * 4 = 7.
    fusion = LMF({"audio": 2, "visual": 2}, 1, rank=2)
    fill(fusion.factors["audio"], EYE, [0.0, 0.0])
    fill(fusion.factors["visual"], [[0.0, 1], [1, 0]], [0.0, 1.0])

    assert rounded(fusion(PAIR)) == [7]


def test_shares_in_lmf_by_hand():
    # Constants 1: f = (1 + 1)(1 + 3) + .5 = 8.5 and f(0) = 1.5, of which each share is less half:
    # audio 2 + .5 - .75, visual 4 + .5 - .75.
    # 8.5 - 1.75 - 3.75 = 3 = 1 * 3, the product.
    fusion = LMF({"audio": 1, "visual": 1}, 1, rank=1)
    for factor in fusion.factors.values():
        fill(factor, [[1.0]], [1.0])
    nn.init.constant_(fusion.bias, 0.5)

    given = {"audio": torch.tensor([[1.0]]), "visual": torch.tensor([[3.0]])}

    assert rounded(fusion(given)) == [8.5]
    assert [rounded(share) for share in fusion.split(given).values()] == [[1.75], [3.75]]


def test_lmf_of_three_multiplies_all():
    fusion = LMF(dict.fromkeys(THREE, 1), 1, rank=1)
    for factor in fusion.factors.values():
        fill(factor, [[1.0]], [0.0])

    given = {m: torch.tensor([[x]]) for m, x in zip(THREE, (2.0, 3.0, 5.0), strict=True)}

    assert rounded(fusion(given)) == [30]


def test_mmtm_gates_by_hand():
    # z = relu(1 - 1, 2 + 0) = (0, 2); sigmoid(0) = .5 and sigmoid(2) = .880797.
    exchange = Exchange({"audio": 2, "visual": 2}, ratio=4.0, scale=1.0)
    fill(exchange.squeeze, [[1.0, 0, 0, 1], [0, 1, 1, 0]], [0.0, 0.0])
    fill(exchange.gates["audio"], EYE, [0.0, 0.0])
    fill(exchange.gates["visual"], [[0.0, 1], [-1, 0]], [0.0, 0.0])
    squeezed = {"audio": torch.tensor([[1.0, 2.0]]), "visual": torch.tensor([[0.0, -1.0]])}

    gates = exchange(squeezed)

    assert rounded(gates["audio"]) == [0.5, 0.8808]
    # The row (-1, 0) of z gives -0.
    assert rounded(gates["visual"]) == [0.8808, 0.5]


@pytest.mark.parametrize("modalities", [TWO, THREE], ids=["two", "three"])
def test_mmtm_with_gates_of_zero_weight_is_the_encoders_alone(modalities):
    nets, given = encoders(modalities), clips(modalities)
    fusion = MMTM(Widths.of(nets), 3)
    for exchange in fusion.exchanges:
        for gate in exchange.gates.values():
            nn.init.zeros_(gate.weight)

    for modality, feature in fusion.encode(nets, given).items():
        torch.testing.assert_close(feature, nets[modality](given[modality]))


def test_mmtm_lets_each_modality_change_the_features_of_the_other():
    nets, given = encoders(), clips()
    fusion = MMTM(Widths.of(nets), 3)
    assert [e.squeeze.out_features for e in fusion.exchanges] == [16, 32, 64]

    before = fusion.encode(nets, given)
    after = fusion.encode(nets, {**given, "visual": given["visual"] * 2 + 1})

    assert not torch.allclose(before["audio"], after["audio"])


def test_mmtm_gates_all_pictures_of_a_clip_alike():
    nets, given = encoders(), clips(time=1)
    fusion = MMTM(Widths.of(nets), 3)

    repeated = fusion.encode(nets, {m: clip.repeat(1, 3, 1, 1, 1) for m, clip in given.items()})

    for modality, feature in fusion.encode(nets, given).items():
        torch.testing.assert_close(repeated[modality], feature)


def test_mmtm_averages_the_logits_of_its_streams():
    # Heads I: f = ((1, 2) + (3, -1)) / 2.
    fusion = MMTM(
        Widths({"audio": 2, "visual": 2}, stages=dict.fromkeys(TWO, (2, 2, 2)), tokens={}), 2
    )
    for head in fusion.heads.values():
        fill(head, EYE, [0.0, 0.0])

    assert rounded(fusion(PAIR)) == [2, 0.5]
    assert rounded(fusion.split(PAIR)["visual"]) == [1.5, -0.5]


@pytest.mark.parametrize("cls", [MMTM, Attention])
def test_an_exchange_needs_two(cls):
    with pytest.raises(ConfigError, match="needs two modalities or more; got audio"):
        cls(Widths.of(encoders(("audio",))), 3)


def test_centralnet_by_hand():
    # Level 1: .3 (1, 2) + .2 (3, 4) = (.9, 1.4). Level 2, C = I and alpha_0 = .5: half of it plus
    # .3 (1, 0) + .2 (-9, 1) = (.45 - 1.5, .7 + .2), of which relu leaves (0, .9).
    widths = Widths({"audio": 2, "visual": 2}, stages=dict.fromkeys(TWO, (7, 2, 2)), tokens={})
    fusion = CentralNet(widths, 2, hidden=2, levels=2)
    for projections in fusion.projections.values():
        for layer in projections:
            fill(layer, EYE, [0.0, 0.0])
    fill(fusion.operators[0], EYE, [0.0, 0.0])
    fill(fusion.head, EYE, [0.0, 0.0])
    with torch.no_grad():
        fusion.alpha.copy_(torch.tensor([[0.3, 0.2]] * 2))
        fusion.alpha_central.fill_(0.5)
    given = {"audio": torch.tensor([[1.0, 2, 1, 0]]), "visual": torch.tensor([[3.0, 4, -9, 1]])}

    assert rounded(fusion.mixed(given)[0]) == [0.9, 1.4]
    assert rounded(fusion(given)) == [0, 0.9]


@pytest.mark.parametrize("cls", [CentralNet, MLLSTM])
def test_features_of_all_levels_are_the_pooled_maps_and_the_feature(cls):
    nets, given = encoders(), clips()
    fusion = cls(Widths.of(nets), 3, hidden=4, levels=3)

    encoded = fusion.encode(nets, given)

    assert fusion.feature_widths == dict.fromkeys(TWO, 16 + 32 + 64)
    for modality, feature in encoded.items():
        net, maps, by_hand = nets[modality], nets[modality].begin(given[modality]), []
        for stage in net.stages():
            maps = stage(maps)
            by_hand.append(maps.mean((1, 3, 4)))
        torch.testing.assert_close(feature, torch.cat(by_hand[1:], dim=-1))


def test_one_level_is_the_feature_alone():
    nets, given = encoders(), clips()

    assert torch.equal(levels_of(nets["audio"], given["audio"], 1), nets["audio"](given["audio"]))


def test_more_levels_than_stages_are_refused():
    widths = Widths.of(encoders())

    assert last_stages("any", widths, 2) == dict.fromkeys(TWO, (32, 64))
    with pytest.raises(ConfigError, match=r"last 5 stages .* audio has 4"):
        CentralNet(widths, 3, levels=5)
    with pytest.raises(ConfigError, match="mmtm's levels is 1 or more; got 0"):
        MMTM(widths, 3, levels=0)


def lstm(levels=1):
    """Gates at rest are .5; the candidate is tanh of the input alone."""
    widths = Widths(dict.fromkeys(TWO, 1), stages=dict.fromkeys(TWO, (1, 1)), tokens={})
    fusion = MLLSTM(widths, 1, hidden=1, levels=levels)
    for projections in fusion.projections.values():
        for layer in projections:
            fill(layer, [[1.0]], [0.0])
    for cell in fusion.cells:
        for parameter in cell.parameters():
            nn.init.zeros_(parameter)
        with torch.no_grad():
            cell.weight_ih[2] = 1
    fill(fusion.head, [[1.0]], [0.0])
    return fusion


def test_ml_lstm_by_hand():
    # audio 1: c = .5 tanh(1) = .380797. visual -2: c = .5 c + .5 tanh(-2) = -.291615,
    # h = .5 tanh(c) = -.14181.
    given = {"audio": torch.tensor([[1.0]]), "visual": torch.tensor([[-2.0]])}

    assert rounded(lstm()(given)) == [-0.14181]


def test_ml_lstm_starts_each_level_from_the_last_state():
    # The second level sees 0 twice: c is halved twice, -.0729038, and h = .5 tanh(c) = -.036387.
    given = {"audio": torch.tensor([[1.0, 0.0]]), "visual": torch.tensor([[-2.0, 0.0]])}

    assert rounded(lstm(levels=2)(given)) == [-0.03639]


def test_attention_by_hand():
    # Scores (1, 0) / sqrt 2: weights (.669762, .330238) of (1, 2) and (3, 4).
    values = torch.tensor([[1.0, 2.0], [3.0, 4.0]])

    found = attend(torch.tensor([[1.0, 0.0]]), torch.eye(2), values)

    assert rounded(found) == [1.66048, 2.66048]


def test_tokens_of_attention_are_the_places_averaged_in_runs():
    # 16 x 16 pixels are 1 x 1 place a picture behind four strides: 4 pictures to 2 tokens.
    nets, given = encoders(), clips(time=4)
    fusion = Attention(Widths.of(nets), 3, tokens=2, hidden=8, heads=2)

    feature = fusion.encode(nets, given)["audio"].view(2, 2, 64)

    for number in range(2):
        pair = given["audio"][:, 2 * number : 2 * number + 2]
        torch.testing.assert_close(feature[:, number], nets["audio"](pair))


def test_attention_sees_other_modalities_and_places():
    with seeded(0):
        fusion = Attention(dict.fromkeys(THREE, 4), 3, tokens=2, hidden=8, heads=2)
    given = features(THREE, fusion.feature_widths)
    swapped = {m: x.view(-1, 2, 4).flip(1).flatten(1) for m, x in given.items()}
    without = {**given, "flow": torch.zeros_like(given["flow"])}

    assert not torch.allclose(fusion(swapped), fusion(given))
    own = fusion(given) - fusion(without)
    additive = fusion.split(given)["flow"] - fusion.split(without)["flow"]
    assert not torch.allclose(own, additive)


def test_heads_of_attention_divide_its_width():
    with pytest.raises(ConfigError, match="heads divide hidden; got 8 tokens, 3 heads, hidden 8"):
        Attention(dict.fromkeys(TWO, 4), 3, hidden=8, heads=3)
