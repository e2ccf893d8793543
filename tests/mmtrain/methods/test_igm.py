import math
from functools import partial

import pytest
import torch
from torch.nn import functional as F

from mmtrain.config.run import OptimizerConfig
from mmtrain.errors import ConfigError, Interrupted, UnknownName
from mmtrain.functional import flat_projection, second_moment
from mmtrain.methods.igm import IGM, mixture
from mmtrain.methods.shared.scope import layers_in_scope, mean_patch, recorded_inputs
from mmtrain.methods.shared.turns import stages, turn
from mmtrain.models.encoders.resnet import ResNet18
from mmtrain.models.heads import layer_inputs, linear_layers, mlp
from tests.mmtrain.training.test_resume import stopped_at
from tests.support.enginework import Stop, lines, running, same, small
from tests.support.methodwork import batch_normalised

PLAIN = OptimizerConfig(lr=0.1, momentum=0, weight_decay=0)
STEPS = 3  # of an epoch: 12 samples, 4 a batch
THREE = ("audio", "visual", "flow")


def snapshot(run):
    return {name: value.clone() for name, value in run.model.state_dict().items()}


def moved(run, before):
    """Names of what is not bit for bit as it was."""
    now = run.model.state_dict()
    return {name for name, value in before.items() if not torch.equal(value, now[name])}


def of(modality):
    return (f"encoders.{modality}.", f"heads.{modality}.")


def test_turns():
    # Stages of 2 and 3 epochs: 0 0 1 1 1, over and over.
    found = [turn(epoch, (2, 3)) for epoch in range(7)]

    assert [t.place for t in found] == [0, 0, 1, 1, 1, 0, 0]
    assert [t.first for t in found] == [True, False, True, False, False, True, False]
    assert [t.last for t in found] == [False, True, False, False, True, False, True]
    # The modality before is that of the stage before: 1 -> 3, 2 -> 1, 3 -> 2.
    assert [turn(epoch, (1, 1, 1)).place for epoch in range(4)] == [0, 1, 2, 0]


def test_lengths_of_stages():
    assert stages("", 2, 100) == [12, 12]
    assert stages("", 3, 100) == [8, 8, 8]
    assert stages("", 2, 3) == [1, 1]
    assert stages("5", 3, 100) == [5, 5, 5]
    assert stages("25, 50", 2, 100) == [25, 50]


@pytest.mark.parametrize("text", ["0", "2,0", "x", "1.5", "1,2,3", "2,", "-1"])
def test_lengths_that_are_none_are_refused(text):
    with pytest.raises(ConfigError, match=r"stage_epochs is a number of epochs, such as 5, or 2"):
        stages(text, 2, 100)


@pytest.mark.parametrize(
    ("name", "value"), [("radius", -1.0), ("tau", -0.1), ("group", 0), ("projected", -1)]
)
def test_values_out_of_range_are_refused(name, value):
    with pytest.raises(ConfigError, match=f"{name} is at least"):
        IGM(**{name: value})
    with pytest.raises(ConfigError, match="heads have 3 layers; got 4"):
        IGM(projected=4)


def test_the_mixture_is_the_mean_of_probabilities():
    # softmax (3/4, 1/4) and (1/4, 3/4) have the mean (1/2, 1/2); the second row (9/10, 1/10) twice.
    one = torch.tensor([[math.log(3), 0.0], [math.log(9), 0.0]])
    other = torch.tensor([[0.0, math.log(3)], [math.log(9) + 5, 5.0]])

    fused = mixture({"audio": one, "visual": other})

    assert fused.exp().flatten().tolist() == pytest.approx([0.5, 0.5, 0.9, 0.1])
    assert mixture({"audio": one * 1e4, "visual": -one * 1e4}).isfinite().all()


def test_heads_are_the_authors():
    # 512 * 256 + 256 * 64 + 64 * 6 weights, and 256 + 64 + 6 biases.
    head = mlp(512, 6)
    assert sum(layer.weight.numel() for layer in linear_layers(head)) == 147_840
    assert sum(p.numel() for p in head.parameters()) == 148_166


def test_what_layers_of_a_head_see():
    head, features = mlp(5, 3), torch.randn(4, 5)
    first, second, third = linear_layers(head)

    found = layer_inputs(head, features)

    assert torch.equal(found[0], features)
    assert torch.equal(found[1], first(features).relu())
    assert torch.equal(found[2], second(found[1]))
    assert torch.equal(third(found[2]), head(features))


@pytest.mark.parametrize("modalities", [("audio", "visual"), THREE])
@pytest.mark.parametrize("made", [IGM, partial(IGM, radius=0.0)])
def test_an_epoch_moves_one_modality_and_all_of_it(shards, tmp_path, modalities, made):
    decaying = OptimizerConfig(lr=0.05, momentum=0.9, weight_decay=0.1)
    method = made()
    config = small(shards, modalities=modalities, epochs=3, optimizer=decaying)
    with running(config, tmp_path, method) as run:
        for epoch in run.epochs():
            active, before = modalities[epoch % len(modalities)], snapshot(run)
            run.train_epoch(method)
            assert moved(run, before) == {n for n in before if n.startswith(of(active))}


def test_batch_statistics_of_the_others_stay_and_its_own_move_once(shards, tmp_path):
    with running(small(shards, optimizer=PLAIN), tmp_path, batch_normalised(IGM())) as run:
        run.model.train()
        before = snapshot(run)
        run.method.step(run, next(run.batches("train")))

        assert all(name.startswith(of("audio")) for name in moved(run, before))
        for modality, encoder in run.model.encoders.items():
            counts = [int(b) for n, b in encoder.named_buffers() if n.endswith("tracked")]
            assert counts == [int(modality == "audio")] * 4


def test_the_projection_is_made_of_what_the_head_saw_of_the_training_split(shards, tmp_path):
    method = IGM(group=1)
    with running(small(shards, epochs=1), tmp_path, method) as run:
        identity = [torch.eye(n) for n in (64, 256, 64)]
        assert all(torch.equal(t, e) for t, e in zip(method.projections, identity, strict=True))

        method.fit(run)

        run.model.eval()
        head = run.model.heads["audio"]
        with torch.no_grad():
            features = [run.model.feature("audio", b) for b in run.batches("train")]
            rows = torch.cat(features)
            assert len(rows) == 18
            seen = [rows, head[0](rows).relu(), head[2](head[0](rows).relu())]
        for found, inputs in zip(method.projections, seen, strict=True):
            expected = flat_projection(second_moment(inputs, 1), 0.4)
            assert torch.allclose(found, expected, atol=1e-5)
            assert torch.linalg.eigvalsh(found)[0].item() == pytest.approx(math.exp(-0.4), abs=1e-5)


@pytest.mark.parametrize("radius", [0.0, 0.5])
@pytest.mark.parametrize("projected", [0, 1, 3])
def test_a_step_by_hand(shards, tmp_path, radius, projected):
    method = IGM(radius=radius, projected=projected, tau=2.0)
    with running(small(shards, optimizer=PLAIN, epochs=3), tmp_path, method) as run:
        flats = [flat_projection(torch.diag(torch.rand(n)), 2.0) for n in (64, 256, 64)]
        method.projections = flats
        run.epoch = 1
        batch = next(run.batches("train"))
        encoder, head = run.model.encoders["visual"], run.model.heads["visual"]
        own = [*encoder.parameters(), *head.parameters()]
        before = [p.detach().clone() for p in own]

        def gradients():
            logits = head(run.model.feature("visual", batch))
            return run.gradients(F.cross_entropy(logits, batch.target), encoder, head)

        here = gradients()
        norm = torch.cat([g.flatten() for g in here]).norm()
        with torch.no_grad():
            for p, g in zip(own, here, strict=True):
                p.add_(radius * g / norm)
        there = gradients()
        with torch.no_grad():
            for p, w in zip(own, before, strict=True):
                p.copy_(w)
        weights = [layer.weight for layer in linear_layers(head)][3 - projected :]
        turns = dict(zip(weights, flats[3 - projected :], strict=True))

        run.model.train()
        method.step(run, batch)

        for p, w, g in zip(own, before, there, strict=True):
            expected = w - 0.1 * (g @ turns[p] if p in turns else g)
            assert torch.allclose(p, expected, atol=1e-6)
        plain = [
            torch.allclose(p, w - 0.1 * g, atol=1e-6)
            for p, w, g in zip(own, before, there, strict=True)
        ]
        assert plain.count(False) == projected


def test_the_scope_counts_weights_from_the_classifier_backwards():
    # Weights of the head: 384, 16,384 and 131,072 of 11,308,192; the dossier's 1.3 % is the head.
    encoder, head = ResNet18(1), mlp(512, 6)
    assert layers_in_scope(encoder, head, scope=0.0) == []
    assert layers_in_scope(encoder, head, scope=1e-5) == linear_layers(head)[2:]
    assert layers_in_scope(encoder, head, scope=0.013) == linear_layers(head)
    # The last convolution has 2,359,296 weights, the one before as many: .2216 and .4303.
    assert len(layers_in_scope(encoder, head, scope=0.2)) == 4
    assert len(layers_in_scope(encoder, head, scope=0.3)) == 5
    assert len(layers_in_scope(encoder, head, scope=1.0)) == 20 + 3
    assert layers_in_scope(encoder, head, scope=1.0)[0] is encoder.net.conv1


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation"),
    [(3, 1, 1, 1), (7, 2, 3, 1), (1, 2, 0, 1), ((3, 2), (2, 1), (1, 0), (2, 1))],
)
def test_the_mean_patch_is_that_of_unfolding(kernel, stride, padding, dilation):
    shape = {"stride": stride, "padding": padding, "dilation": dilation}
    layer, inputs = torch.nn.Conv2d(4, 5, kernel, **shape), torch.randn(3, 4, 11, 10)

    expected = F.unfold(inputs, kernel, **shape).mean(-1)

    found = mean_patch(layer, inputs)
    assert torch.allclose(found, expected, atol=1e-6)
    # It goes with the weights in their order: the mean output without bias.
    means = (layer(inputs) - layer.bias[:, None, None]).mean((-2, -1))
    assert torch.allclose(found @ layer.weight.flatten(1).T, means, atol=1e-5)


def test_pictures_of_a_sample_are_averaged():
    layer, pictures = torch.nn.Linear(2, 1), torch.tensor([[[1.0, 0], [3, 2]], [[5, 5], [7, 7]]])
    with recorded_inputs([layer], 2) as means:
        layer(pictures.flatten(0, 1))
    assert means["0"].tolist() == [[2, 1], [6, 6]]


def test_with_all_of_the_network_in_scope_convolutions_are_projected_too(shards, tmp_path):
    method = IGM(scope=1.0, radius=0.0, group=1)
    with running(small(shards, optimizer=PLAIN, epochs=2), tmp_path, method) as run:
        encoder, head = run.model.encoders["visual"], run.model.heads["visual"]
        layers = layers_in_scope(encoder, head, scope=1.0)
        convolutions = len(layers) - 3
        assert convolutions > 1
        run.model.train()
        before = [layer.weight.detach().clone() for layer in layers]
        for run.epoch in range(2):
            batch = next(run.batches("train"))
            if run.epoch == 1:
                method.projections = method._flat_projections(run, "audio")
                run.model.train()
                loss = F.cross_entropy(head(run.model.feature("visual", batch)), batch.target)
                gradients = torch.autograd.grad(loss, [layer.weight for layer in layers])
                before = [layer.weight.detach().clone() for layer in layers]
            method.step(run, batch)
        assert len(method.projections) == len(layers)
        changed = []
        for layer, old, g, flat in zip(layers, before, gradients, method.projections, strict=True):
            rows = g.flatten(1)
            same_width = rows.shape[1] == len(flat)
            expected = (rows @ flat if same_width else rows).view_as(g)
            assert torch.allclose(layer.weight, old - 0.1 * expected, atol=1e-6)
            changed.append(not torch.allclose(expected, g, rtol=1e-3))
        # The first convolutions see one channel and three, and so keep their gradient.
        assert changed == [False] + [True] * (len(layers) - 1)


@pytest.mark.parametrize("projected", ["audio", ("audio",), "visual, audio"])
def test_only_named_modalities_are_projected(shards, tmp_path, projected):
    method = IGM(projected=projected, radius=0.0)
    with running(small(shards, epochs=3), tmp_path, method) as run:
        method.fit(run)
    kept = [line["logged"] for line in lines(tmp_path)]
    assert kept[0] == {"kept.audio": 1}
    assert list(kept[1]) == (["kept.visual"] if "visual" in projected else [])
    assert kept[2]["kept.audio"] < 1


@pytest.mark.parametrize("scope", [0.0, 1.0])
def test_a_scope_resumes_and_0_is_no_projection(shards, tmp_path, scope):
    config, made = small(shards, epochs=3), partial(IGM, scope=scope, stage_epochs="1")
    for name, steps in (("straight", ()), ("torn", (STEPS, STEPS + 1))):
        stopped_at(steps, config, tmp_path / name, made)
    assert same(tmp_path / "straight", tmp_path / "torn")
    logged = lines(tmp_path / "straight")[1]["logged"]
    assert ("kept.visual" in logged) == (scope > 0)


def test_an_unknown_modality_is_refused(shards, tmp_path):
    with (
        pytest.raises(UnknownName, match=r"no modality for igm\.projected 'vidual'"),
        running(small(shards), tmp_path, IGM(projected="audio,vidual")),
    ):
        pass


def test_each_stage_has_an_optimizer_of_its_own(shards, tmp_path):
    method = IGM(stage_epochs="2,1")
    with running(small(shards, epochs=3), tmp_path, method) as run:
        renewed, renew = [], run.renew_optimizer
        run.renew_optimizer = lambda *modules: (renewed.append(run.epoch), renew(*modules))
        method.fit(run)

        assert renewed == [0, 2]
        assert all(name.startswith(of("visual")) for name in run.optimizer_state())


def test_a_resumed_run_is_the_straight_run(shards, tmp_path):
    config = small(shards, epochs=3)
    # Inside a stage, behind its last step but before its pass, and inside the next.
    stops = (2, 2 * STEPS, 2 * STEPS + 2)
    for name, steps in (("straight", ()), ("stopped", stops)):
        stopped = []
        for _ in range(len(steps) + 1):
            method, stop = IGM(stage_epochs="2,1"), Stop(*steps)
            with running(config, tmp_path / name, method, stop) as stop.run:
                try:
                    method.fit(stop.run)
                except Interrupted:
                    stopped.append(stop.run.steps)
        assert tuple(stopped) == steps
    assert same(tmp_path / "straight", tmp_path / "stopped")


def test_half_precision_leaves_the_projection_whole(shards, tmp_path):
    method = IGM()
    with running(small(shards, epochs=1, precision="bf16"), tmp_path, method) as run:
        method.fit(run)
    assert {t.dtype for t in method.projections} == {torch.float32}
    logged = lines(tmp_path)[0]["logged"]
    assert logged["kept.audio"] == 1  # Through identities, which half precision would round.


def test_what_is_left_of_gradients_and_the_sharpness_are_logged(shards, tmp_path):
    method = IGM(radius=1e-3)
    with running(small(shards), tmp_path, method) as run:
        method.fit(run)
    first, second = (line["logged"] for line in lines(tmp_path))
    assert set(first) == {"kept.audio", "sharpness.audio"}
    assert set(second) == {"kept.visual", "sharpness.visual"}
    assert math.exp(-0.4) <= second["kept.visual"] < 1 == first["kept.audio"]
    assert first["sharpness.audio"] > 0 < second["sharpness.visual"]


def test_the_fused_prediction_is_the_mean_of_the_heads(shards, tmp_path):
    method = IGM()
    with running(small(shards), tmp_path, method) as run:
        batch = next(run.batches("val"))
        out = method.predict(run.model, batch)
        mean = torch.stack([z.softmax(-1) for z in out.logits.values()]).mean(0)
        assert torch.allclose(out.fused.softmax(-1), mean)
        assert torch.equal(out.logits["audio"], run.model.heads["audio"](out.features["audio"]))


def test_one_modality_is_refused(shards, tmp_path):
    with (
        pytest.raises(ConfigError, match="needs two or more; got audio"),
        running(small(shards, modalities=("audio",)), tmp_path, IGM()),
    ):
        pass
