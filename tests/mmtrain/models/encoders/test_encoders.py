import pickle
from importlib.util import find_spec

import pytest
import torch
from torchvision.models.resnet import resnet18, resnet34

from mmtrain import modalities
from mmtrain.errors import ConfigError
from mmtrain.models.catalog import ENCODERS
from mmtrain.models.encoders.resnet import ResNet18, ResNet50
from mmtrain.models.encoders.small_cnn import SmallCNN
from mmtrain.models.encoders.weights import adapted
from mmtrain.models.inputs import Frames, Planes, Spectrogram, preparation
from mmtrain.models.layers import seeded

_absent = find_spec("timm") is None
_timm = pytest.mark.skipif(_absent, reason="the extra timm is not installed")
# Those that are made from a number of channels alone; `transformers` needs a folder.
NAMES = [e.name for e in ENCODERS.entries if modalities.SPECTROGRAM in e.takes]
PICTURES = [n for n in NAMES if n not in ("tsn", "tsm", "timm")]
every_encoder = pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[_timm] if n == "timm" else []) for n in NAMES]
)
every_encoder_of_pictures = pytest.mark.parametrize(
    "name", [*PICTURES, pytest.param("timm", marks=_timm)]
)
every_staged_encoder = pytest.mark.parametrize("name", [n for n in NAMES if n != "timm"])


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory):
    """A file such as torchvision's, its state dict, and weights that are not those of a start."""
    with seeded(1):
        net = resnet18(weights=None)
        for buffer in net.buffers():
            if buffer.is_floating_point():
                buffer.uniform_(0.5, 1.5)
    path = tmp_path_factory.mktemp("weights") / "resnet18-f37072fd.pth"
    torch.save(net.state_dict(), path)
    return path, net.eval()


@every_encoder
@pytest.mark.parametrize(
    "shape",
    [
        (2, 1, 1, 257, 299),
        (1, 1, 1, 257, 1004),
        (2, 1, 1, 257, 98),
        (1, 3, 3, 224, 224),
        (2, 1, 3, 64, 64),
        (2, 2, 10, 64, 64),
        (2, 1, 1, 28, 28),
    ],
    ids=str,
)
@torch.no_grad()
def test_every_input_becomes_one_vector_a_sample(name, shape):
    encoder = ENCODERS.load(name)(shape[2]).eval()

    found = encoder(torch.randn(shape))

    assert found.shape == (shape[0], encoder.width)
    assert found.isfinite().all()


@every_encoder_of_pictures
@torch.no_grad()
def test_time_is_pooled_by_the_mean_of_what_each_picture_gives(name):
    encoder = ENCODERS.load(name)(3).eval()
    clip = torch.randn(2, 3, 3, 32, 32)

    one_by_one = [[encoder(picture[None, None])[0] for picture in sample] for sample in clip]
    by_hand = torch.stack([(a + b + c) / 3 for a, b, c in one_by_one])

    torch.testing.assert_close(encoder(clip), by_hand, rtol=1e-4, atol=1e-5)


@every_encoder_of_pictures
@torch.no_grad()
def test_the_order_and_repetition_of_pictures_do_not_matter(name):
    encoder = ENCODERS.load(name)(3).eval()
    clip = torch.randn(2, 3, 3, 32, 32)

    torch.testing.assert_close(encoder(clip[:, [2, 0, 1]]), encoder(clip), rtol=1e-4, atol=1e-5)
    once = encoder(clip[:, :1])
    thrice = encoder(clip[:, :1].repeat(1, 3, 1, 1, 1))
    torch.testing.assert_close(once, thrice, rtol=1e-4, atol=1e-5)


@every_encoder
def test_gradients_reach_every_parameter(name):
    encoder = ENCODERS.load(name)(2)

    encoder(torch.randn(2, 2, 2, 32, 32)).square().sum().backward()

    # timm's residual branches start at 0, so that their convolutions first get gradients of 0.
    least = -1 if name == "timm" else 0
    assert all(p.grad is not None and p.grad.abs().sum() > least for p in encoder.parameters())


@every_staged_encoder
@torch.no_grad()
def test_the_stages_in_turn_are_the_encoder(name):
    encoder = ENCODERS.load(name)(3).eval()
    clip = torch.randn(2, 3, 3, 32, 32)

    maps, pooled = encoder.begin(clip), []
    for stage in encoder.stages():
        maps = stage(maps)
        pooled.append(encoder.pool(maps))

    assert torch.equal(encoder.finish(maps), encoder(clip))
    assert tuple(vector.shape[1] for vector in pooled) == encoder.stage_widths
    torch.testing.assert_close(encoder.tokens(clip).mean(1), encoder(clip), rtol=1e-4, atol=1e-5)


@every_staged_encoder
@torch.no_grad()
def test_gates_multiply_the_channels_of_each_sample(name):
    encoder = ENCODERS.load(name)(3).eval()
    maps = encoder.begin(torch.randn(2, 3, 3, 32, 32))
    for stage in encoder.stages():
        maps = stage(maps)
    gates = torch.rand(2, encoder.width)

    gated = encoder.pool(encoder.gate(maps, gates))

    torch.testing.assert_close(gated, encoder.pool(maps) * gates)


def test_small_cnn_sees_a_sample_the_same_whatever_else_is_in_the_batch():
    encoder = SmallCNN(1).train()
    sample, others = torch.randn(1, 1, 1, 64, 64), torch.randn(7, 1, 1, 64, 64) * 50 + 20

    alone, beside = encoder(sample), encoder(torch.cat([sample, others]))[:1]

    torch.testing.assert_close(beside, alone, rtol=1e-4, atol=1e-5)
    assert not list(encoder.buffers())


def test_small_cnn_has_the_size_that_its_docstring_names():
    assert sum(p.numel() for p in SmallCNN(1).parameters()) // 1000 == 97
    assert SmallCNN(1, width=64)(torch.randn(1, 1, 1, 28, 28)).shape == (1, 64)
    with pytest.raises(ConfigError, match="multiple of 64; got 100"):
        SmallCNN(1, width=100)


def test_filters_of_small_cnn_are_those_behind_the_first_convolution():
    encoder = SmallCNN(2, width=64)

    assert [tuple(w.shape) for w in encoder.filters()] == [
        (16, 8, 3, 3),
        (32, 16, 3, 3),
        (64, 32, 3, 3),
    ]
    encoder.body[2][0].weight.requires_grad_(False)
    assert [len(w) for w in encoder.filters()] == [16, 64]


def test_filters_of_resnet18_are_those_of_its_stages_without_shortcuts():
    shapes = [tuple(w.shape) for w in ResNet18(1).filters()]

    assert [outputs for outputs, *_ in shapes] == [n for n in (64, 128, 256, 512) for _ in range(4)]
    assert {tuple(kernel) for _, _, *kernel in shapes} == {(3, 3)}


def test_filters_of_resnet50_are_those_of_its_bottlenecks():
    filters = ResNet50(1).filters()

    assert len(filters) == 3 * (3 + 4 + 6 + 3)
    assert sum(1 for weight in filters if weight.shape[-1] == 3) == 3 + 4 + 6 + 3


def test_resnet50_has_the_size_of_torchvisions_without_its_classifier():
    # torchvision's 25,557,032 less its classifier of 2048 * 1000 + 1000.
    assert sum(p.numel() for p in ResNet50(3).parameters()) == 25_557_032 - 2_049_000


def test_resnet18_has_as_many_parameters_as_the_dossier_counts():
    for channels, count in ((1, 11_170_240), (2, 11_173_376), (3, 11_176_512), (10, 11_198_464)):
        assert sum(p.numel() for p in ResNet18(channels).parameters()) == count


@torch.no_grad()
def test_imagenet_weights_give_what_torchvision_gives(imagenet):
    path, net = imagenet
    pictures = torch.randn(2, 3, 64, 64)
    features = {}
    net.avgpool.register_forward_hook(lambda *hook: features.update(pooled=hook[2].flatten(1)))

    found = ResNet18(3, weights=path).eval()(pictures[:, None])
    net(pictures)

    torch.testing.assert_close(found, features["pooled"])


def test_the_first_convolution_is_the_mean_over_rgb_repeated():
    # Red 1, green 2, blue 6: each channel of another number of inputs gets 3.
    stem = torch.tensor([1.0, 2.0, 6.0]).view(1, 3, 1, 1).repeat(64, 1, 7, 7)

    for channels in (1, 2, 10):
        assert torch.equal(adapted(stem, channels), torch.full((64, channels, 7, 7), 3.0))
    assert adapted(stem, 3) is stem


@pytest.mark.parametrize("channels", [1, 2, 10])
def test_imagenet_weights_fit_any_number_of_channels(imagenet, channels):
    path, net = imagenet

    found = ResNet18(channels, weights=path).state_dict()

    expected = net.conv1.weight.mean(1, keepdim=True).expand(-1, channels, -1, -1)
    torch.testing.assert_close(found.pop("net.conv1.weight"), expected)
    for key, value in found.items():
        assert torch.equal(value, net.state_dict()[key.removeprefix("net.")])


def test_weights_of_old_torchvision_have_no_counters(imagenet, tmp_path):
    _, net = imagenet
    old = {k: v for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}
    torch.save(old, tmp_path / "resnet18-5c106cde.pth")

    found = ResNet18(3, weights=tmp_path / "resnet18-5c106cde.pth")

    assert torch.equal(found.net.bn1.running_mean, net.bn1.running_mean)


def write_text(path):
    path.write_text("not weights")


def write_module(path):
    torch.save(torch.nn.Linear(1, 1), path)


def write_pickle(path):
    path.write_bytes(pickle.dumps({"conv1.weight": "no tensor"}, protocol=2))


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (write_text, "cannot read it as plain tensors"),
        (lambda path: path.touch(), "cannot read it as plain tensors"),
        (write_module, "cannot read it as plain tensors"),
        (lambda path: torch.save([torch.ones(1)], path), "no mapping of names to tensors"),
        (write_pickle, "cannot read it as plain tensors"),
        (lambda path: torch.save({"a": torch.ones(1)}, path), r"conv1.weight is absent"),
        (
            lambda path: torch.save({"conv1.weight": torch.ones(64, 1, 7, 7)}, path),
            r"conv1.weight is \(64, 1, 7, 7\), not \(64, 3, 7, 7\)",
        ),
        (
            lambda path: torch.save(resnet34().state_dict(), path),
            r"unexpected layer1\.2.* and \d+ more",
        ),
    ],
    ids=["text", "empty", "module", "list", "pickle", "other", "grey", "resnet34"],
)
def test_a_wrong_file_is_a_wrong_request(tmp_path, write, said):
    path = tmp_path / "weights.pth"
    write(path)

    with pytest.raises(ConfigError, match=said) as caught:
        ResNet18(3, weights=path)
    assert str(path) in str(caught.value)
    assert "resnet18-f37072fd.pth" in str(caught.value)


def test_a_missing_file_of_weights_is_a_wrong_request(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read weights .*: No such file"):
        ResNet18(3, weights=tmp_path / "none.pth")


def test_spectrograms_are_standardised_clip_by_clip():
    # Clip 1: mean 4, standard deviation 3. Clip 2: silence, -16.118 in float16, becomes 0.
    clips = torch.stack(
        [torch.tensor([[[1.0, 7.0], [7.0, 1.0]]]), torch.full((1, 2, 2), -16.118)]
    ).half()

    found = Spectrogram()(clips)

    assert found.dtype == torch.float32
    assert found.shape == (2, 1, 1, 2, 2)
    assert found[0].flatten().tolist() == pytest.approx([-1, 1, 1, -1])
    assert found[1].flatten().tolist() == [0, 0, 0, 0]


def test_a_spread_of_rounding_is_not_blown_up():
    # Standard deviation 1e-4 is below the floor of 1e-3: deviations are divided by the floor.
    clip = torch.tensor([1e-4, -1e-4]).view(1, 1, 1, 2)

    assert Spectrogram()(clip).flatten().tolist() == pytest.approx([0.1, -0.1])


def test_frames_are_normalised_as_for_imagenet():
    # Red (255 / 255 - .485) / .229, green (0 - .456) / .224, blue (51 / 255 - .406) / .225.
    frames = torch.tensor([255, 0, 51], dtype=torch.uint8).view(1, 1, 3, 1, 1)

    found = Frames()(frames).flatten().tolist()

    assert found == pytest.approx([0.515 / 0.229, -0.456 / 0.224, -0.206 / 0.225], abs=1e-6)


def test_flow_is_in_shares_of_its_bound():
    planes = torch.tensor([1, 128, 255], dtype=torch.uint8).view(1, 1, 3, 1, 1)

    assert Planes()(planes).flatten().tolist() == [-1, 0, 1]


@pytest.mark.parametrize("modality", ["visual", "flow", "difference", "depth"])
def test_pictures_that_were_scaled_before_are_refused(modality):
    with pytest.raises(TypeError, match=r"uint8, unscaled|UInt8"):
        preparation(modality)(torch.rand(1, 1, 3, 4, 4))


def test_preparations_follow_the_model_and_save_nothing():
    frames = Frames()

    assert frames.to("meta").mean.device.type == "meta"
    assert not frames.state_dict()


def test_small_cnn_looks_at_large_pictures_averaged():
    encoder = SmallCNN(1, area=100)
    clip = torch.rand(2, 1, 1, 20, 20)
    halved = clip.view(2, 1, 1, 10, 2, 10, 2).mean((4, 6))
    assert torch.allclose(encoder(clip), encoder(halved), atol=1e-6)
    with pytest.raises(ConfigError, match="area is 1 pixel or more"):
        SmallCNN(1, area=0)
