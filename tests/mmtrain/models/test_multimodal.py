from functools import partial
from importlib.util import find_spec
from itertools import product

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mmtrain.errors import ConfigError, UnknownName
from mmtrain.modalities import SPECTROGRAM
from mmtrain.models.catalog import ENCODERS, FUSIONS
from mmtrain.models.encoders import Encoder
from mmtrain.models.encoders.small_cnn import SmallCNN
from mmtrain.models.fusions.concat import Concat
from mmtrain.models.multimodal import MultimodalModel, channels_of
from mmtrain.types import Batch
from tests.support.costs import counting_waits
from tests.support.fusionwork import settings_of

CLASSES = 5
TARGET = torch.tensor([0, 1, 2])
two_and_three = pytest.mark.parametrize(
    "modalities", [("audio", "visual"), ("audio", "visual", "flow")], ids=["two", "three"]
)


def batch(modalities=("audio", "visual", "flow")):
    """Inputs as the stream delivers them."""
    noise = torch.Generator().manual_seed(0)

    def pictures(*shape):
        return torch.randint(0, 256, shape, generator=noise, dtype=torch.uint8)

    inputs = {
        "audio": torch.randn(3, 1, 33, 40, generator=noise).half(),
        "visual": pictures(3, 2, 3, 32, 32),
        "flow": pictures(3, 2, 4, 32, 32),
    }
    return Batch.unlabelled({m: inputs[m] for m in modalities})


def build(modalities=("audio", "visual", "flow"), fusion="concat", encoder="small-cnn", seed=0):
    return MultimodalModel.build(
        channels_of(batch(modalities).inputs),
        dict.fromkeys(modalities, ENCODERS.load(encoder)),
        partial(FUSIONS.load(fusion), classes=CLASSES, **settings_of(fusion, segments=CLASSES)),
        seed=seed,
    )


needs_timm = pytest.mark.skipif(find_spec("timm") is None, reason="the extra timm is not installed")
every_encoder = pytest.mark.parametrize(
    "encoder",
    [
        pytest.param(e.name, marks=[needs_timm] if e.name == "timm" else [])
        for e in ENCODERS.entries
        if SPECTROGRAM in e.takes
    ],
)


def same(first, second):
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_channels_are_counted_from_the_inputs():
    assert channels_of(batch().inputs) == {"audio": 1, "visual": 3, "flow": 4}


@pytest.mark.parametrize(
    ("encoder", "fusion"),
    [
        *(("small-cnn", fusion) for fusion in FUSIONS.names),
        *product(("resnet18", "tsm"), ("concat", "mmtm", "centralnet", "attention")),
    ],
)
@two_and_three
def test_every_encoder_and_fusion_give_outputs(encoder, fusion, modalities):
    model = build(modalities, fusion, encoder)

    with counting_waits() as waits:
        out = model(batch(modalities))

    assert waits.count == 0
    assert out.fused.shape == (3, CLASSES)
    assert {m: z.shape for m, z in out.logits.items()} == dict.fromkeys(modalities, (3, CLASSES))
    assert {m: f.shape[0] for m, f in out.features.items()} == dict.fromkeys(modalities, 3)


@pytest.mark.parametrize("fusion", FUSIONS.names)
@two_and_three
def test_gradient_reaches_every_encoder(fusion, modalities):
    model = build(modalities, fusion)

    F.cross_entropy(model(batch(modalities)).fused, TARGET).backward()

    for modality in modalities:
        found = list(model.gradients(modality))
        assert len(found) == len(list(model.parameters_of(modality)))
        assert all(grad.abs().sum() > 0 for grad in found)
    for name, parameter in model.fusion.named_parameters():
        # A number added to all scores of weight cancels in their softmax.
        assert parameter.grad.abs().sum() > 0 or name == "score.2.bias", name


def test_gradients_are_those_of_the_encoder_and_edited_in_place():
    model = build()
    F.cross_entropy(model(batch()).fused, TARGET).backward()
    before = {name: p.grad.clone() for name, p in model.named_parameters()}

    for grad in model.gradients("visual"):
        grad.mul_(0)

    for name, parameter in model.named_parameters():
        hit = name.startswith("encoders.visual.")
        assert torch.equal(parameter.grad, before[name] * (0 if hit else 1))


def test_a_modality_without_gradients_yields_none():
    model = build()
    assert list(model.gradients("audio")) == []
    model.encoders["audio"].requires_grad_(False)
    F.cross_entropy(model(batch()).fused, TARGET).backward()
    assert list(model.gradients("audio")) == []


@pytest.mark.parametrize("fusion", ["concat", "mmtm"])
@two_and_three
def test_logits_are_the_shares_of_the_fusion(fusion, modalities):
    out = build(modalities, fusion)(batch(modalities))

    assert torch.equal(sum(out.logits.values()), out.fused)


def test_the_model_is_encode_then_classify():
    model = build()
    features = model.encode(batch())

    out = model.classify(features)

    assert same(out.logits.values(), model(batch()).logits.values())
    assert same(out.features.values(), features.values())


def test_a_dropped_feature_gives_its_encoder_no_gradient():
    model = build()
    features = model.encode(batch())
    features["audio"] = features["audio"] * torch.zeros(3, 1)

    F.cross_entropy(model.classify(features).fused, TARGET).backward()

    assert all(not grad.any() for grad in model.gradients("audio"))
    assert all(grad.any() for grad in model.gradients("visual"))


def test_heads_replace_shares_and_leave_the_fused_logits():
    model = build()
    plain = model(batch())

    heads = model.add_heads()

    out = model(batch())
    assert torch.equal(out.fused, plain.fused)
    for modality, feature in out.features.items():
        assert torch.equal(out.logits[modality], heads[modality](feature))
        assert not torch.equal(out.logits[modality], plain.logits[modality])


def test_heads_may_be_any_module_and_any_number():
    def perceptron(width, classes):
        return nn.Sequential(nn.Linear(width, 7), nn.ReLU(), nn.Linear(7, classes))

    model = build()
    shares = model(batch()).logits
    model.add_heads(perceptron)
    assert model.heads["flow"][0].out_features == 7

    del model.heads["flow"]

    assert torch.equal(model(batch()).logits["flow"], shares["flow"])


def test_heads_belong_to_the_model_but_to_no_modality():
    model = build()
    encoder = sum(1 for _ in model.parameters_of("audio"))
    before = sum(1 for _ in model.parameters())

    model.add_heads()

    assert sum(1 for _ in model.parameters()) == before + 6
    assert sum(1 for _ in model.parameters_of("audio")) == encoder
    assert "heads.audio.weight" in model.state_dict()


def test_the_fusion_may_be_replaced():
    model = build()

    model.fusion = FUSIONS.load("gated")(model.fusion.widths, CLASSES)

    assert model(batch()).fused.shape == (3, CLASSES)


@every_encoder
def test_the_same_seed_gives_the_same_model(encoder):
    first = build(encoder=encoder, seed=3)
    torch.rand(5)
    second, third = build(encoder=encoder, seed=3), build(encoder=encoder, seed=4)
    for model in (first, second, third):
        model.add_heads()

    assert same(first.state_dict().values(), second.state_dict().values())
    assert not same(first.parameters(), third.parameters())


def test_an_encoder_starts_the_same_whatever_is_beside_it():
    alone, beside = build(("visual",), "sum"), build(("flow", "visual", "audio"), "film")

    assert same(alone.parameters_of("visual"), beside.parameters_of("visual"))
    assert not same(beside.parameters_of("visual"), build(seed=1).parameters_of("visual"))


def test_building_leaves_the_generator_of_the_process_alone():
    before = torch.get_rng_state()

    build().add_heads()

    assert torch.equal(torch.get_rng_state(), before)


def test_a_hidden_input_is_zero_after_normalisation():
    model, whole = build(), batch()
    hidden = whole.hiding(audio=torch.tensor([False, True, False]))

    found, plain = model.encode(hidden), model.encode(whole)

    nothing = model.encoders["audio"](torch.zeros(1, 1, 1, 33, 40))
    torch.testing.assert_close(found["audio"][1:2], nothing)
    torch.testing.assert_close(found["audio"][::2], plain["audio"][::2])
    assert torch.equal(found["visual"], plain["visual"])


def test_what_is_hidden_may_hold_anything():
    model, whole = build(), batch()
    whole.inputs["audio"][1] = float("nan")

    out = model(whole.hiding(audio=torch.tensor([False, True, False])))

    assert out.fused.isfinite().all()


@pytest.mark.parametrize("fusion", FUSIONS.names)
def test_half_precision_ends_at_the_encoders(fusion):
    model = build(fusion=fusion)

    with torch.autocast("cpu", torch.bfloat16):
        out = model(batch())

    assert {x.dtype for x in (out.fused, *out.features.values())} == {torch.float32}
    assert torch.equal(sum(out.logits.values()), out.fused) == model.fusion.additive


def test_a_missing_modality_is_named():
    with pytest.raises(ConfigError, match="no flow; this model was made for audio, visual, flow"):
        build()(batch(("audio", "visual")))


@pytest.mark.parametrize("fusion", FUSIONS.names)
@two_and_three
def test_every_fusion_joins_encoders_of_unequal_widths(fusion, modalities):
    widths = dict(zip(modalities, (64, 128, 64), strict=False))
    model = MultimodalModel.build(
        channels_of(batch(modalities).inputs),
        {m: partial(SmallCNN, width=width) for m, width in widths.items()},
        partial(FUSIONS.load(fusion), classes=CLASSES, **settings_of(fusion, segments=CLASSES)),
        seed=0,
    )

    out = model(batch(modalities))
    F.cross_entropy(out.fused, TARGET).backward()

    assert {m: x.shape[1] for m, x in out.features.items()} == model.feature_widths
    assert all(list(model.gradients(m)) for m in modalities)
    assert model.add_heads().keys() == widths.keys()
    assert model(batch(modalities)).logits[modalities[1]].shape == (3, CLASSES)


@pytest.mark.parametrize("fusion", [f for f in FUSIONS.names if f != "mmtm"])
def test_a_modality_is_encoded_alone_as_beside_others(fusion):
    model, whole = build(fusion=fusion), batch()

    together = model.encode(whole)

    for modality, feature in together.items():
        assert torch.equal(model.feature(modality, whole), feature)


def test_a_fusion_between_encoders_is_refused_for_one_modality_alone():
    model = build(fusion="mmtm")

    with pytest.raises(ConfigError, match=r"mmtm lets the encoders exchange.*audio cannot be .*"):
        model.feature("audio", batch())


@pytest.mark.parametrize("fusion", ["mmtm", "centralnet", "ml-lstm"])
def test_an_encoder_without_stages_is_refused_by_fusions_that_read_them(fusion):
    with pytest.raises(ConfigError, match=rf"{fusion} acts on .* that of audio has none"):
        MultimodalModel.build(
            {"audio": 1, "visual": 3},
            {"audio": Vector, "visual": SmallCNN},
            partial(FUSIONS.load(fusion), classes=CLASSES),
            seed=0,
        )


class Vector(Encoder):
    """An encoder that is all one piece."""

    def __init__(self, channels):
        super().__init__()
        self.width = 6
        self.linear = nn.Linear(channels, self.width)

    def forward(self, inputs):
        return self.linear(inputs.mean((1, 3, 4)))


def test_encoders_may_differ_and_need_no_stages_for_pooled_features():
    model = MultimodalModel.build(
        {"audio": 1, "visual": 3},
        {"audio": Vector, "visual": SmallCNN},
        partial(FUSIONS.load("ml-lstm"), classes=CLASSES, levels=1),
        seed=0,
    )

    out = model(batch(("audio", "visual")))

    assert {m: x.shape for m, x in out.features.items()} == {"audio": (3, 6), "visual": (3, 128)}


def test_an_encoder_without_tokens_is_refused_when_they_are_asked_for():
    model = MultimodalModel.build(
        {"audio": 1, "visual": 3},
        {"audio": Vector, "visual": SmallCNN},
        partial(FUSIONS.load("attention"), classes=CLASSES),
        seed=0,
    )

    with pytest.raises(ConfigError, match="Vector gives a vector and no tokens"):
        model(batch(("audio", "visual")))


def test_every_modality_needs_an_encoder():
    with pytest.raises(ConfigError, match="no encoder is given for visual"):
        MultimodalModel.build({"audio": 1, "visual": 3}, {"audio": SmallCNN}, Concat, seed=0)


def test_an_unknown_modality_offers_the_nearest():
    with pytest.raises(UnknownName, match=r"no modality 'visuals'; did you mean visual\?"):
        MultimodalModel({"visuals": SmallCNN(3)}, Concat({"visuals": 128}, CLASSES))


def test_encoders_and_fusion_must_fit():
    with pytest.raises(ConfigError, match=r"encoders give .*128.*fusion takes .*64"):
        MultimodalModel({"audio": SmallCNN(1)}, Concat({"audio": 64}, CLASSES))


def test_encoders_may_not_share_parameters():
    encoder = SmallCNN(1)

    with pytest.raises(ConfigError, match="encoders of audio and depth share parameters"):
        MultimodalModel(
            {"audio": encoder, "depth": encoder}, Concat({"audio": 128, "depth": 128}, CLASSES)
        )
