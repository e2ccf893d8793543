import math

import pytest
import torch

from mmtrain.errors import ConfigError, Interrupted, UnknownName
from mmtrain.functional import draw_successive
from mmtrain.methods.amss import (
    AMSS,
    AMSSPlus,
    information,
    official_factors,
    ratios,
    unbiased_factors,
)
from mmtrain.methods.shared.units import unit_counts, unit_shares
from tests.support.enginework import running, small

THREE = ("audio", "visual", "flow")
# Of the dossier: squared gradients of the eight units of a layer.
SQUARES = torch.tensor([[8, 4, 2, 1, 1, 0.5, 0.25, 0.25]])


def masked(run, method):
    """The gradients by which a step has updated, by name, and what it logged."""
    logged = {}
    run.log = lambda **scalars: logged.update(scalars)
    method.step(run, next(run.batches("train")))
    found = {name: p.grad for name, p in run.model.named_parameters()}
    return found, {name: float(value) for name, value in logged.items()}


def gradients(run, method):
    """Those of the loss alone, by name."""
    batch = next(run.batches("train"))
    found = run.gradients(method.loss(run, run.model(batch), batch), run.model)
    return dict(zip(dict(run.model.named_parameters()), found, strict=True))


def test_information_by_hand():
    # Six classes, balanced: perfect logits say ln 6, uniform ones nothing. One class: there is
    # nothing to say. Two of six: ln 2.
    even = torch.full((6,), 1 / 6)
    two = torch.tensor([0.5, 0.5, 0, 0, 0, 0])

    assert information(torch.tensor([0, math.log(6)]), even).tolist() == pytest.approx(
        [1.791759, 0], abs=1e-6
    )
    assert information(torch.zeros(2), torch.eye(6)[0]).tolist() == [0, 0]
    assert information(torch.zeros(1), two).item() == pytest.approx(0.693147, abs=1e-6)


@pytest.mark.parametrize(
    ("tau", "expected"),
    [(0.25, (0.24071, 0.75929)), (0.5, (0.36022, 0.63978)), (1.0, (0.42869, 0.57131))],
)
def test_ratios_of_a_perfect_and_an_uninformed_modality(tau, expected):
    # u = (ln 6 + .5) / ln 512 and .5 / ln 512.
    significance = torch.tensor([math.log(6) + 0.5, 0.5]) / math.log(512)

    assert significance.tolist() == pytest.approx([0.3674, 0.0802], abs=1e-4)
    assert ratios(significance, tau).tolist() == pytest.approx(expected, abs=1e-4)


def test_ratios_of_three_sum_to_two_and_of_equals_are_level():
    found = ratios(torch.tensor([0.3, 0.2, 0.1]), 0.5)

    assert found.tolist() == pytest.approx([0.59824, 0.67107, 0.73069], abs=1e-5)
    assert found.sum().item() == pytest.approx(2)
    assert ratios(torch.full((3,), 7.0), 0.25).tolist() == pytest.approx([2 / 3] * 3)


def test_counts_by_hand():
    # .25 of 64, .7564 of 64, .1 of 512, half of 12; .9 of 10 in float32 is 9 and a rounding error.
    rho = torch.tensor([0.25, 0.7564, 0.1, 0.5, 0.9, 0.0, 1.0])
    units = torch.tensor([64, 64, 512, 12, 10, 8, 8])

    assert unit_counts(rho, units).tolist() == [16, 49, 52, 6, 9, 1, 8]


def test_importances_are_shares_of_each_row_nearly():
    there = torch.tensor([[True] * 8, [True] * 4 + [False] * 4])
    squares = torch.cat([SQUARES, torch.zeros(1, 8)])

    found = unit_shares(squares, there)

    assert found[0].tolist() == pytest.approx((SQUARES[0] / 17).tolist(), abs=1e-3)
    assert found[1].tolist() == pytest.approx([0.25] * 4 + [0] * 4)
    assert (found[0] > 0).all()


def test_the_unbiased_mask_is_one_on_average_and_never_far_from_its_importance():
    shares = (SQUARES / 17).repeat(20_000, 1)
    start = torch.rand(20_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    found = unbiased_factors(shares, torch.full((20_000,), 4), start)

    assert ((found > 0).sum(1) == 4).all()
    assert found.mean(0).tolist() == pytest.approx([1] * 8, abs=0.1)
    # Inclusion is (1, 1, .8, .4, .4, .2, .1, .1).
    assert found.amax(0).tolist() == pytest.approx([1, 1, 1.25, 2.5, 2.5, 5, 10, 10])


def test_the_official_mask_is_not():
    # The dossier's expectations of the code's factors, from exact inclusion.
    expected = [1.641, 2.497, 2.946, 2.469, 2.469, 1.592, 0.911, 0.911]
    shares = (SQUARES / 17).repeat(40_000, 1)
    uniform = torch.rand(40_000, 8, generator=torch.Generator().manual_seed(1))

    chosen = draw_successive(shares, torch.full((40_000,), 4), uniform)
    found = chosen * official_factors(shares, torch.full((40_000,), 8))

    assert found.mean(0).tolist() == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("units", [64, 128, 256, 512])
def test_the_official_scale_of_an_average_unit_is_half_their_number(units):
    even = torch.full((1, units), 1 / units)

    assert official_factors(even, torch.tensor([units])).unique().item() == pytest.approx(units / 2)


@pytest.mark.parametrize("modalities", [THREE[:2], THREE], ids=["two", "three"])
@pytest.mark.parametrize("made", [AMSS, AMSSPlus])
def test_as_many_units_are_updated_as_the_ratio_says(shards, tmp_path, made, modalities):
    config = small(shards, modalities=modalities)
    with running(config, tmp_path, made()) as run:
        start = gradients(run, run.method)
        found, logged = masked(run, run.method)

        assert sum(logged.values()) == pytest.approx(len(modalities) - 1, abs=1e-5)
        for m in modalities:
            rho = logged[f"rho.{m}"]
            for layer in (1, 2, 3):
                name = f"encoders.{m}.body.{layer}.0.weight"
                filters = found[name].flatten(1).abs().sum(1) > 0
                assert filters.sum() == math.ceil(rho * len(filters))
            columns = run.model.fusion.columns[m]
            kept = (found["fusion.head.weight"][:, columns] != 0).sum(1)
            # An entry that has no gradient may be drawn too.
            idle = (start["fusion.head.weight"][:, columns] == 0).sum(1)
            most = math.ceil(rho * 64)
            assert ((kept <= most) & (kept >= most - idle)).all()
            free = f"encoders.{m}.body.0.0.weight"
            assert torch.allclose(found[free], start[free])
        bias = "fusion.head.bias"
        assert torch.allclose(found[bias], start[bias])


def test_what_amss_draws_keeps_its_gradient_and_in_amss_plus_it_grows(shards, tmp_path):
    for made in (AMSS, AMSSPlus):
        with running(small(shards), tmp_path / made.__name__, made()) as run:
            name = "encoders.audio.body.3.0.weight"
            start = gradients(run, run.method)[name]
            found, _ = masked(run, run.method)
            drawn = found[name].flatten(1).abs().sum(1) > 0
            ratio = found[name][drawn].flatten(1).norm(dim=1) / start[drawn].flatten(1).norm(dim=1)
            assert torch.allclose(
                found[name][drawn], ratio[:, None, None, None] * start[drawn], atol=1e-6
            )
            if made is AMSS:
                assert torch.allclose(ratio, torch.ones(()))
            else:
                assert (ratio > 0.9999).all()
                assert ratio.max() > 1.1


@pytest.mark.parametrize(("scope", "parts"), [("encoders", "123"), ("head", ["head"])])
def test_scope_says_where(shards, tmp_path, scope, parts):
    with running(small(shards), tmp_path, AMSS(scope=scope)) as run:
        start = gradients(run, run.method)
        found, _ = masked(run, run.method)

    still = {
        name.split(".")[-3 if name.startswith("encoders") else 1]
        for name, gradient in found.items()
        if ((gradient == 0) & (start[name] != 0)).any()
    }
    assert still == set(parts)


def test_a_fusion_without_columns_leaves_the_encoders_to_be_masked(shards, tmp_path):
    with running(small(shards, fusion="gated"), tmp_path, AMSS()) as run:
        found, logged = masked(run, run.method)

        filters = found["encoders.visual.body.2.0.weight"].flatten(1).abs().sum(1) > 0
        assert filters.sum() == math.ceil(logged["rho.visual"] * 32)


def test_modalities_are_level_while_one_of_them_says_nothing(shards, tmp_path):
    config = small(shards, modalities=THREE)
    with running(config, tmp_path, AMSS(offset=-100.0)) as run:
        _, logged = masked(run, run.method)

    assert list(logged.values()) == pytest.approx([2 / 3] * 3)


@pytest.mark.parametrize(("tau", "rho"), [(1e-6, (0.9, 0.1)), (1e6, (0.5, 0.5))])
def test_the_modality_ahead_is_updated_less_within_the_clamp(shards, tmp_path, tau, rho):
    method = AMSS(tau=tau, offset=5.0, scope="encoders")
    with running(small(shards), tmp_path, method) as run:
        # What visual says is right, and by far; audio says nothing.
        right = 50 * torch.eye(3)[next(run.batches("train")).target]
        said = {"audio": torch.zeros(4, 3), "visual": right}
        run.model.fusion.split = lambda features: {
            m: 0 * features[m].sum() + logits for m, logits in said.items()
        }
        _, logged = masked(run, method)

    assert (logged["rho.audio"], logged["rho.visual"]) == pytest.approx(rho, abs=1e-5)


def test_the_average_is_remembered_and_no_average_is_not(shards, tmp_path):
    for ema in (0.0, 0.75):
        method = AMSS(ema=ema)
        with running(small(shards), tmp_path / str(ema), method) as run:
            masked(run, method)
            first = method.significance
            if not ema:
                assert method.state_dict() == {"significance": None}
                continue
            alone = AMSS(ema=1e-9)
            alone._units = method._units
            out = run.model(next(run.batches("train")))
            alone._ratios(run, out, next(run.batches("train")))
            method._ratios(run, out, next(run.batches("train")))
            expected = 0.75 * first + 0.25 * alone.significance
            assert torch.allclose(method.significance, expected)
            assert not torch.allclose(method.significance, first)


def test_a_stopped_run_goes_on_with_its_average_and_its_draws(shards, tmp_path):
    ends = []
    for stops in (0, 1):
        folder = tmp_path / str(stops)
        if stops:
            with running(small(shards), folder, AMSSPlus(ema=0.5)) as run:
                run.stopping = True
                with pytest.raises(Interrupted):
                    run.method.fit(run)
        with running(small(shards), folder, AMSSPlus(ema=0.5)) as run:
            assert run.steps == stops
            run.method.fit(run)
            ends.append((run.model.state_dict(), run.method.significance))

    assert torch.equal(ends[0][1], ends[1][1])
    assert all(torch.equal(value, ends[1][0][name]) for name, value in ends[0][0].items())


def test_one_modality_has_nothing_to_be_weighed_against(shards, tmp_path):
    config = small(shards, modalities=("visual",))
    with pytest.raises(ConfigError, match="visual is alone"), running(config, tmp_path, AMSS()):
        pass


def test_the_head_of_a_fusion_without_columns_cannot_be_masked(shards, tmp_path):
    config = small(shards, fusion="film")
    with (
        pytest.raises(ConfigError, match="scope=head"),
        running(config, tmp_path, AMSS(scope="head")),
    ):
        pass


@pytest.mark.parametrize(
    ("made", "given", "said"),
    [
        (AMSS, {"tau": 0.0}, "tau is above 0"),
        (AMSS, {"ema": 1.0}, r"ema is in \[0, 1\)"),
        (AMSS, {"clamp": 0.6}, r"clamp is in \[0, 0.5\]"),
    ],
)
def test_values_out_of_range_are_wrong_requests(made, given, said):
    with pytest.raises(ConfigError, match=said):
        made(**given)


def test_unknown_choices_offer_the_nearest():
    with pytest.raises(UnknownName, match="did you mean encoders"):
        AMSS(scope="encoder")
    with pytest.raises(UnknownName, match="did you mean inclusion"):
        AMSSPlus(scale="inclusive")
