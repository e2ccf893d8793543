from itertools import permutations

import pytest
import torch
from torch.nn import functional as F

from mmtrain.errors import ConfigError, UnknownName
from mmtrain.models.catalog import FUSIONS
from mmtrain.models.fusions.concat import Concat
from mmtrain.models.fusions.film import Film
from mmtrain.models.fusions.gated import Gated
from mmtrain.models.fusions.stages import Widths
from mmtrain.models.fusions.sum import Sum
from mmtrain.models.fusions.weight import Weight
from mmtrain.models.layers import seeded
from tests.support.fusionwork import settings_of

TWO = ("audio", "visual")
THREE = ("audio", "visual", "flow")
every_fusion = pytest.mark.parametrize("name", FUSIONS.names)
two_and_three = pytest.mark.parametrize("modalities", [TWO, THREE], ids=["two", "three"])

# From the dossiers: phi^a = (1, 2), phi^v = (3, -1).
PAIR = {"audio": torch.tensor([[1.0, 2.0]]), "visual": torch.tensor([[3.0, -1.0]])}


def features(modalities, width=16, batch=5):
    """Random features; ``width`` may be a mapping, such as `Fusion.feature_widths`."""
    noise = torch.Generator().manual_seed(0)
    widths = width if isinstance(width, dict) else dict.fromkeys(modalities, width)
    return {m: torch.randn(batch, widths[m], generator=noise).requires_grad_() for m in modalities}


def staged(widths):
    """Widths of encoders with four stages, as those of pictures have."""
    stages = {m: (w // 8 + 1, w // 4 + 1, w // 2 + 1, w) for m, w in widths.items()}
    return Widths(widths, stages=stages, tokens=widths)


def made(name, modalities, classes=4, width=16):
    """A fusion whose biases are not zero, as after training."""
    widths = width if isinstance(width, dict) else dict.fromkeys(modalities, width)
    with seeded(0):
        fusion = FUSIONS.load(name)(staged(widths), classes, **settings_of(name, segments=2))
        for key, parameter in fusion.named_parameters():
            if key.endswith("bias"):
                torch.nn.init.normal_(parameter)
    return fusion


def fill(layer, weight, bias):
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weight))
        layer.bias.copy_(torch.tensor(bias))


def rounded(tensor):
    return [round(value, 5) for value in tensor.flatten().tolist()]


@every_fusion
@two_and_three
def test_shares_and_logits_have_the_shape_of_the_classes(name, modalities):
    fusion = made(name, modalities)
    given = features(modalities, fusion.feature_widths)

    assert fusion(given).shape == (5, 4)
    assert {m: share.shape for m, share in fusion.split(given).items()} == dict.fromkeys(
        modalities, (5, 4)
    )


@every_fusion
@two_and_three
def test_shares_sum_to_the_fused_logits_where_the_fusion_is_additive(name, modalities):
    fusion = made(name, modalities)
    given = features(modalities, fusion.feature_widths)

    fused, total = fusion(given), sum(fusion.split(given).values())

    assert torch.equal(fused, total) == fusion.additive
    assert torch.allclose(fused, total) == fusion.additive


@every_fusion
@two_and_three
def test_gradient_of_the_fused_logits_reaches_every_modality(name, modalities):
    fusion = made(name, modalities)
    given = features(modalities, fusion.feature_widths)

    F.cross_entropy(fusion(given), torch.tensor([0, 1, 2, 3, 0])).backward()

    assert all(given[m].grad.abs().sum() > 0 for m in modalities)
    gates = {*fusion.exchanges.parameters()} if name == "mmtm" else set()  # before the features
    learnt = [p for p in fusion.parameters() if p not in gates]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in learnt)


@every_fusion
@two_and_three
def test_the_share_of_a_modality_depends_on_its_features(name, modalities):
    fusion = made(name, modalities)
    given = features(modalities, fusion.feature_widths)

    for modality in modalities:
        share = fusion.split(given)[modality]
        (grad,) = torch.autograd.grad(share.square().sum(), given[modality])
        assert (grad.abs().sum(1) > 0).all()


@every_fusion
@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e10])
def test_no_scale_of_the_features_gives_nan(name, scale):
    fusion = made(name, THREE)
    drawn = features(THREE, fusion.feature_widths)
    given = {m: feature.detach() * scale for m, feature in drawn.items()}

    assert fusion(given).isfinite().all()
    assert all(share.isfinite().all() for share in fusion.split(given).values())


@every_fusion
def test_a_sample_does_not_depend_on_its_neighbours(name):
    fusion = made(name, THREE)
    given = features(THREE, fusion.feature_widths)

    alone = fusion.split({m: feature[:1] for m, feature in given.items()})

    for modality, share in fusion.split(given).items():
        torch.testing.assert_close(share[:1], alone[modality])


@every_fusion
@pytest.mark.parametrize("order", list(permutations(THREE)))
def test_the_order_of_the_given_features_does_not_matter(name, order):
    fusion = made(name, THREE)
    given = features(THREE, fusion.feature_widths)

    assert torch.equal(fusion({m: given[m] for m in order}), fusion(given))


@every_fusion
@pytest.mark.parametrize(
    "widths",
    [{"audio": 64, "visual": 48}, {"audio": 48, "visual": 64, "flow": 48}],
    ids=["two", "three"],
)
def test_modalities_may_differ_in_width(name, widths):
    fusion = made(name, tuple(widths), width=widths)
    given = features(tuple(widths), fusion.feature_widths)

    assert fusion(given).shape == (5, 4)
    assert [*fusion.split(given)] == [*widths]


@pytest.mark.parametrize("name", ["concat", "sum", "weight"])
def test_one_modality_alone_is_a_linear_classifier_of_which_it_has_all(name):
    fusion, given = made(name, ("audio",)), features(("audio",))
    (weight,) = (p for p in fusion.parameters() if p.shape == (4, 16))
    (bias,) = (p for p in fusion.parameters() if p.shape == (4,))

    torch.testing.assert_close(fusion(given), F.linear(given["audio"], weight, bias))
    assert torch.equal(fusion.split(given)["audio"], fusion(given))


@pytest.mark.parametrize(("cls", "role"), [(Film, "conditioner"), (Gated, "gate")])
def test_the_modality_that_leads_must_be_there_and_not_alone(cls, role):
    with pytest.raises(ConfigError, match="needs two modalities or more; got audio"):
        cls({"audio": 2}, 3)
    with pytest.raises(UnknownName, match=rf"{role} 'visul'; did you mean visual\?"):
        cls({"audio": 2, "visual": 2}, 3, **{role: "visul"})


def test_concat_by_hand():
    # Example A: f = [[2.7, -.2, 0], [.7, .8, 0]]; each share has half of b = (.2, -.2, 0).
    fusion = Concat({"audio": 2, "visual": 2}, 3)
    fill(fusion.head, [[1.0, 0, 0.5, 0], [0, 1, 0, 0.5], [0, 0, 0, 0]], [0.2, -0.2, 0])
    given = {
        "audio": torch.tensor([[2.0, 0.0], [0.0, 1.0]]),
        "visual": torch.tensor([[1.0, 0.0], [1.0, 0.0]]),
    }

    shares = fusion.split(given)

    assert rounded(fusion(given)) == [2.7, -0.2, 0, 0.7, 0.8, 0]
    assert rounded(shares["audio"]) == [2.1, -0.1, 0, 0.1, 0.9, 0]
    assert rounded(shares["visual"]) == [0.6, -0.1, 0, 0.6, -0.1, 0]


def test_concat_is_one_linear_layer_on_the_features_side_by_side():
    fusion, given = made("concat", THREE), features(THREE)

    expected = fusion.head(torch.cat([given[m] for m in THREE], dim=-1))

    torch.testing.assert_close(fusion(given), expected)


def test_concat_splits_its_bias_evenly_among_three():
    # W = 0, so that only b = (3, 6) is left: a third of it each.
    fusion = Concat(dict.fromkeys(THREE, 2), 2)
    fill(fusion.head, [[0.0] * 6] * 2, [3.0, 6.0])

    for share in fusion.split(features(THREE, width=2, batch=1)).values():
        assert rounded(share) == [1, 2]


def test_concat_columns_are_those_of_each_modality():
    fusion = Concat({"audio": 3, "visual": 5, "flow": 4}, 2)

    assert fusion.columns == {"audio": slice(0, 3), "visual": slice(3, 8), "flow": slice(8, 12)}


@pytest.mark.parametrize("name", ["concat", "sum", "weight"])
@two_and_three
def test_the_matrix_of_a_modality_is_what_its_share_goes_through(name, modalities):
    fusion, given = made(name, modalities), features(modalities)

    for modality in modalities:
        weight, columns = fusion.matrix(modality)
        (grad,) = torch.autograd.grad(fusion.split(given)[modality].sum(), weight)
        assert grad[:, columns].shape == (4, 16)
        assert (grad[:, columns] != 0).all()
        grad[:, columns] = 0
        assert not grad.any()


@pytest.mark.parametrize("name", ["film", "gated"])
def test_features_that_meet_before_the_head_have_no_matrix(name):
    assert all(made(name, THREE).matrix(modality) is None for modality in THREE)


def test_sum_with_the_blocks_of_concat_is_concat():
    concat, given = made("concat", THREE), features(THREE)
    fusion = Sum(dict.fromkeys(THREE, 16), 4)
    with torch.no_grad():
        for modality, columns in concat.columns.items():
            fusion.heads[modality].weight.copy_(concat.head.weight[:, columns])
            fusion.heads[modality].bias.copy_(concat.head.bias / 3)

    assert torch.equal(fusion(given), concat(given))


def test_biases_of_sum_move_together_so_that_they_are_an_even_split():
    fusion = Sum(dict.fromkeys(THREE, 16), 4)
    optimizer = torch.optim.SGD(fusion.parameters(), lr=0.1, momentum=0.9)
    for _ in range(3):
        optimizer.zero_grad()
        F.cross_entropy(fusion(features(THREE)), torch.tensor([0, 1, 2, 3, 0])).backward()
        optimizer.step()

    first, *others = (fusion.heads[m].bias for m in THREE)
    assert first.abs().sum() > 0
    assert all(torch.equal(first, other) for other in others)


def test_weight_by_hand():
    # W = I, w = (1, -1): a = tanh(1) - tanh(2) = -.202433 and tanh(3) - tanh(-1) = 1.756649;
    # lambda = (.123566, .876434). With heads I: f = lambda (1, 2) + lambda (3, -1).
    fusion = Weight({"audio": 2, "visual": 2}, 2, hidden=2)
    eye = [[1.0, 0.0], [0.0, 1.0]]
    fill(fusion.score[0], eye, [0.0, 0.0])
    fill(fusion.score[2], [[1.0, -1.0]], [0.0])
    for head in fusion.heads.values():
        fill(head, eye, [0.0, 0.0])

    weights = fusion.weights(PAIR)

    assert rounded(weights["audio"]) == [0.12357]
    assert rounded(weights["visual"]) == [0.87643]
    assert rounded(fusion(PAIR)) == [2.75287, -0.6293]
    assert rounded(fusion.split(PAIR)["audio"]) == [0.12357, 0.24713]


def test_weight_gives_equal_features_equal_weights():
    fusion, same = made("weight", THREE), features(("audio",))["audio"]

    for weight in fusion.weights(dict.fromkeys(THREE, same)).values():
        torch.testing.assert_close(weight, torch.full((5, 1), 1 / 3))


def test_weight_permutes_with_the_features():
    fusion, given = made("weight", TWO), features(TWO)

    swapped = fusion.weights({"audio": given["visual"], "visual": given["audio"]})

    torch.testing.assert_close(swapped["audio"], fusion.weights(given)["visual"])


def test_weight_projects_what_is_wider_and_nothing_else():
    # P = (1, 1): both are scored as 3, so each has half; with heads of 1: f = (3 + 3) / 2.
    fusion = Weight({"audio": 2, "visual": 1}, 1, hidden=1)
    assert [*fusion.projections] == ["audio"]
    fill(fusion.projections["audio"], [[1.0, 1.0]], [0.0])
    fill(fusion.heads["audio"], [[1.0, 1.0]], [0.0])
    fill(fusion.heads["visual"], [[1.0]], [0.0])

    given = {"audio": PAIR["audio"], "visual": torch.tensor([[3.0]])}

    assert rounded(fusion.weights(given)["audio"]) == [0.5]
    assert rounded(fusion(given)) == [3]


@pytest.fixture
def film():
    # A = [[1, 0], [0, .5], [0, 1], [1, 0]], c = (0, 1, 0, 0), head I with bias (2, 4).
    fusion = Film({"audio": 2, "visual": 2}, 2)
    fill(fusion.modulators["visual"], [[1.0, 0], [0, 0.5], [0, 1], [1, 0]], [0.0, 1, 0, 0])
    fill(fusion.head, [[1.0, 0], [0, 1]], [2.0, 4.0])
    return fusion


def test_film_by_hand(film):
    # gamma = (1, 2), beta = (2, 1), h = (1 * 3 + 2, 2 * -1 + 1) = (5, -1), f = h + (2, 4).
    assert rounded(film(PAIR)) == [7, 3]


def test_shares_in_film_by_hand(film):
    # Nothing: h = c_beta = 0, so f(0) = (2, 4) and each share has (1, 2) of it.
    # audio alone: h = beta = (2, 1). visual alone: h = c_gamma * phi = (0, 1) * (3, -1) = (0, -1).
    shares = film.split(PAIR)

    assert rounded(shares["audio"]) == [3, 3]
    assert rounded(shares["visual"]) == [1, 1]


def test_shares_in_film_leave_out_the_interaction_only(film):
    # (phi^a A_gamma) * phi^v = (1, 1) * (3, -1) = (3, -1) = (7, 3) - (3, 3) - (1, 1).
    assert rounded(film(PAIR) - sum(film.split(PAIR).values())) == [3, -1]


def test_film_starts_with_the_scale_at_one_and_so_with_a_share_for_all():
    fusion = Film(dict.fromkeys(THREE, 16), 4, conditioner="visual")
    given = features(THREE) | {"visual": torch.zeros(5, 16)}

    expected = fusion.head(torch.cat([given["audio"], given["flow"]], dim=-1))

    torch.testing.assert_close(fusion(given), expected)


@pytest.fixture
def gated():
    # U = I, V = [[1, 1], [0, 2]], biases c_k = 0 and c = (0, 1), head I with bias (2, 4).
    fusion = Gated({"audio": 2, "visual": 2}, 2, hidden=2)
    fill(fusion.projections["audio"], [[1.0, 0], [0, 1]], [0.0, 0.0])
    fill(fusion.projections["visual"], [[1.0, 1], [0, 2]], [0.0, 0.0])
    fill(fusion.head, [[1.0, 0], [0, 1]], [0.0, 0.0])
    return fusion


def test_gated_by_hand(gated):
    # gate (.731059, .880797), y = (3 - 1, -2), h = (1.462117, -1.761594).
    assert rounded(gated(PAIR)) == [1.46212, -1.76159]


def test_shares_in_gated_by_hand(gated):
    # With c = (0, 1) and head bias (2, 4): nothing gives (0, .5) + (2, 4), a half of it each.
    # audio alone: gate * c = (0, .880797) + (2, 4), less that half.
    # visual alone: .5 * (2, -1) + (2, 4), less that half.
    fill(gated.projections["visual"], [[1.0, 1], [0, 2]], [0.0, 1.0])
    fill(gated.head, [[1.0, 0], [0, 1]], [2.0, 4.0])

    shares = gated.split(PAIR)

    assert rounded(shares["audio"]) == [1, 2.6308]
    assert rounded(shares["visual"]) == [2, 1.25]


def test_the_gate_may_be_any_modality():
    fusion = Gated(dict.fromkeys(THREE, 16), 4, gate="flow", hidden=8)
    given = features(THREE)

    opened = torch.sigmoid(fusion.projections["flow"](given["flow"]))
    passed = [opened * fusion.projections[m](given[m]) for m in TWO]

    torch.testing.assert_close(fusion(given), fusion.head(torch.cat(passed, dim=-1)))
