"""OGM, OGM-GE, OGM*: the factors are tested in `test_modulation`; here what training does."""

from functools import partial

import pytest
import torch
from torch.nn import functional as F

from mmtrain.config.run import OptimizerConfig
from mmtrain.errors import ConfigError, Interrupted, UnknownName
from mmtrain.functional import confidence, discrepancy
from mmtrain.functional.modulation import ogm_factor
from mmtrain.methods.base import Method
from mmtrain.methods.ogm import OGM, OGMStar, ogm_factor_cvpr22, ogm_star_factor
from tests.support.enginework import Stop, lines, running, same, small
from tests.support.methodwork import fitted

THREE = ("audio", "visual", "flow")
PLAIN = OptimizerConfig(lr=0.1, momentum=0, weight_decay=0)
GE = partial(OGM, noise="tensor-std")  # The line `ogm-ge` of the catalog.


def of(*values):
    return torch.tensor(values)


def moved(shards, folder, method, **changes):
    """Change of each parameter in one step of plain SGD, and ``rho`` before it."""
    config = small(shards, optimizer=PLAIN, modalities=THREE, **changes)
    with running(config, folder, method) as run:
        batch = next(run.batches("train"))
        out = run.model.train()(batch)
        rho = discrepancy({m: confidence(z, batch.target).sum() for m, z in out.logits.items()})
        before = {name: p.detach().clone() for name, p in run.model.named_parameters()}
        method.step(run, batch)
        change = {name: p.detach() - before[name] for name, p in run.model.named_parameters()}
        return change, {m: r.item() for m, r in rho.items()}


def of_encoder(name):
    return name.split(".")[1] if name.startswith("encoders.") else None


def test_the_form_of_cvpr22_by_hand():
    # 1 - tanh(.8 * 1.5), tanh(.8 * 1.844623), tanh(.8 * 4); a jump where the lead begins.
    rho = of(1.5, 1.844623, 4.0, 1.0, 1.0 + 1e-6)
    assert ogm_factor_cvpr22(rho, 0.8, 1.0).tolist() == pytest.approx(
        [0.166345, 0.099341, 0.003318, 1, 0.335963], abs=1e-5
    )
    assert ogm_factor_cvpr22(of(1.0001), 2.6, 1.0).item() == pytest.approx(0.010973, abs=1e-5)


def test_ogm_star_by_hand():
    # 1 + .8 tanh(.844623); 4; 1 + tanh(1.475698); the modality ahead is left alone.
    behind = 1 / of(1.844623, 1 / 1.844623)
    found = {
        form: ogm_star_factor(behind, 0.8, form, "tanh", 1.0) for form in ("tpami", "bml", "pmr")
    }

    assert {form: k[0].item() for form, k in found.items()} == dict.fromkeys(found, 1)
    assert found["tpami"][1].item() == pytest.approx(1.550600, abs=1e-5)
    assert found["bml"][1].item() == 4
    assert found["pmr"][1].item() == pytest.approx(1.90066, abs=1e-5)


def test_ogm_star_takes_the_side_that_is_behind():
    # Example B: 1 / .375 = 2.666667; of a difference of -10, 10.
    assert OGMStar().factors(of(3.0, 1.25, 0.375)).tolist() == pytest.approx(
        [1, 1, 1 + 0.8 * 0.931110], abs=1e-5
    )
    star = OGMStar(rho="difference")
    assert star.factors(of(12.5, -2.5, -10.0)).tolist() == pytest.approx(
        [1, 1 + 0.8 * 0.905148, 1.8], abs=1e-5
    )
    assert OGM(form="cvpr22").factors(of(4.0, 0.25)).tolist() == pytest.approx(
        [0.003318, 1], abs=1e-5
    )


@pytest.mark.parametrize("made", [OGM, OGMStar, partial(OGM, tensors="conv")])
def test_a_step_moves_each_encoder_by_its_factor_and_the_classifier_as_ever(shards, tmp_path, made):
    method = made()
    change, rho = moved(shards, tmp_path / "ogm", method)
    plain, _ = moved(shards, tmp_path / "joint", Method())
    k = dict(zip(rho, method.factors(of(*rho.values())).tolist(), strict=True))

    assert min(k.values()) < 1 or max(k.values()) > 1
    for name, difference in change.items():
        edited = of_encoder(name) and (method.tensors == "all" or difference.ndim == 4)
        expected = plain[name] * (k[of_encoder(name)] if edited else 1)
        assert torch.allclose(difference, expected, atol=1e-6, rtol=1e-3), name
        assert edited or torch.equal(difference, plain[name]), name


def test_noise_is_added_to_every_encoder_and_to_nothing_else(shards, tmp_path):
    noisy, _ = moved(shards, tmp_path / "ge", GE(alpha=0))
    plain, _ = moved(shards, tmp_path / "joint", Method())

    for name in plain:
        noise = noisy[name] - plain[name]
        if of_encoder(name):
            # A change is the gradient times the rate, and so is what varies in it.
            assert noise.std().item() == pytest.approx(plain[name].std().item(), rel=0.7), name
        else:
            assert torch.equal(noisy[name], plain[name]), name


def test_noise_on_convolutions_leaves_other_tensors_alone(shards, tmp_path):
    noisy, _ = moved(shards, tmp_path / "ge", GE(alpha=0, tensors="conv"))
    plain, _ = moved(shards, tmp_path / "joint", Method())

    assert {name for name in plain if not torch.equal(noisy[name], plain[name])} == {
        name for name in plain if of_encoder(name) and plain[name].ndim == 4
    }


def test_covariance_noise_weighs_samples_in_the_encoders_only(shards, tmp_path):
    method = OGM(noise="covariance")
    with running(small(shards, optimizer=PLAIN), tmp_path / "run", method) as run:
        batch = next(run.batches("train"))
        run.generator.manual_seed(3)
        w = torch.special.ndtri(torch.rand(len(batch), generator=run.generator))
        run.generator.manual_seed(3)
        out = run.model.train()(batch)
        scores = {m: confidence(z.detach(), batch.target).sum() for m, z in out.logits.items()}
        k = ogm_factor(torch.stack([*discrepancy(scores).values()]), 0.8)
        losses = F.cross_entropy(out.fused, batch.target, reduction="none")
        expected = {
            m: run.gradients(((factor + w - w.mean()) * losses).mean(), run.model.encoders[m])
            for m, factor in zip(run.model.modalities, k, strict=True)
        }
        head = run.gradients(losses.mean(), run.model.fusion)
        before = {name: p.detach().clone() for name, p in run.model.named_parameters()}
        method.step(run, batch)
        for name, p in run.model.named_parameters():
            own = expected[of_encoder(name)] if of_encoder(name) else head
            change = own.pop(0) * -0.1
            assert torch.allclose(p - before[name], change, atol=1e-6, rtol=1e-3), name
    assert not any([*expected.values(), head])


@pytest.mark.parametrize(
    "made", [partial(OGM, alpha=0), partial(OGMStar, alpha=0), partial(GE, start=1)]
)
def test_without_strength_or_outside_the_window_it_is_joint_training(shards, tmp_path, made):
    found = fitted(shards, tmp_path / "a", made())
    joint = fitted(shards, tmp_path / "b", Method())

    assert all(torch.equal(found[name], joint[name]) for name in joint)


def test_a_window_is_left_after_its_last_epoch(shards, tmp_path):
    fitted(shards, tmp_path, OGM(end=0), epochs=2)

    first, second = (line["logged"] for line in lines(tmp_path))
    assert first
    assert not second


@pytest.mark.parametrize("fusion", ["sum", "film", "gated"])
@pytest.mark.parametrize("noise", ["tensor-std", "covariance"])
def test_it_logs_what_it_does_with_any_fusion(shards, tmp_path, fusion, noise):
    method = GE(noise=noise, bias_share=1.0)
    found = fitted(shards, tmp_path, method, fusion=fusion, precision="bf16", modalities=THREE)

    (line,) = lines(tmp_path)
    names = ["score", "rho", "k"] + ["gradient", "modulated"] * (noise == "tensor-std")
    assert set(line["logged"]) == {f"{name}.{m}" for name in names for m in THREE}
    assert min(line["logged"].values()) > 0
    assert min(line["logged"][f"k.{m}"] for m in THREE) < 1
    assert all(value.isfinite().all() for value in found.values())


@pytest.mark.parametrize("noise", ["tensor-std", "covariance"])
def test_noise_goes_on_where_it_stopped(shards, tmp_path, noise):
    for name, steps in (("straight", ()), ("stopped", (2, 5))):
        for _ in range(len(steps) + 1):
            method, stop = GE(noise=noise), Stop(*steps)
            with running(small(shards), tmp_path / name, method, stop) as stop.run:
                try:
                    method.fit(stop.run)
                except Interrupted:
                    continue
    assert same(tmp_path / "straight", tmp_path / "stopped")


def test_an_encoder_that_is_frozen_stays_so(shards, tmp_path):
    for noise in ("tensor-std", "covariance"):
        method = GE(noise=noise)
        with running(small(shards), tmp_path / noise, method) as run:
            run.model.encoders["audio"].requires_grad_(False)
            before = [p.clone() for p in run.model.parameters_of("audio")]
            method.step(run, next(run.batches("train")))
            after = [*run.model.parameters_of("audio")]
            assert all(torch.equal(p, q) for p, q in zip(before, after, strict=True))


def test_a_modality_alone_is_trained_as_ever(shards, tmp_path):
    alone = {"modalities": ("audio",)}
    found = fitted(shards, tmp_path / "a", OGM(), **alone)
    joint = fitted(shards, tmp_path / "b", Method(), **alone)

    assert all(torch.equal(found[name], joint[name]) for name in joint)


def test_wrong_options_are_refused():
    with pytest.raises(ConfigError, match="alpha is at least 0; got -1"):
        OGM(alpha=-1)
    with pytest.raises(ConfigError, match="set tensors=all"):
        OGM(noise="covariance", tensors="conv")
    with pytest.raises(UnknownName, match="no form 'pmr'; there are"):
        OGM(form="pmr")


def test_one_share_of_the_bias_a_modality_is_wanted(shards, tmp_path):
    fitted(shards, tmp_path / "run", OGM(bias_share="0.4,0.6"))
    with (
        pytest.raises(ConfigError, match="or 2 with commas between, for audio, visual; got 3"),
        running(small(shards), tmp_path / "wrong", OGM(bias_share="0.2,0.3,0.5")),
    ):
        pass
