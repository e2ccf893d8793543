"""TSN and TSM: which pictures are seen, and what passes between them."""

import pytest
import torch
from torchvision.models.resnet import resnet18

from mmtrain.errors import ConfigError
from mmtrain.models.encoders.resnet import ResNet18
from mmtrain.models.encoders.tsm import TSM, shift
from mmtrain.models.encoders.tsn import TSN, middles
from mmtrain.models.layers import seeded
from tests.support.costs import counting_waits


def built(cls, **settings):
    with seeded(0):
        return cls(3, **settings)


def test_shift_by_hand():
    # One channel of four each way: the first comes from the picture after, the second from before.
    rows = torch.tensor([[1.0, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]])

    shifted = shift(rows.view(1, 3, 4, 1, 1), 4)

    assert shifted.view(3, 4).tolist() == [[5, 0, 3, 4], [9, 2, 7, 8], [0, 6, 11, 12]]


def test_shift_moves_one_channel_in_so_many_each_way():
    maps = torch.rand(2, 3, 64, 2, 2)

    shifted = shift(maps, 8)

    assert torch.equal(shifted[:, 0, :8], maps[:, 1, :8])
    assert torch.equal(shifted[:, 1, 8:16], maps[:, 0, 8:16])
    assert torch.equal(shifted[:, :, 16:], maps[:, :, 16:])


@torch.no_grad()
def test_tsm_shifts_in_every_residual_branch_and_not_in_the_shortcut():
    encoder, clip = built(TSM).eval(), torch.randn(2, 3, 3, 32, 32)
    maps = encoder.begin(clip)
    block = encoder.net.layer1[0]

    branch = block.bn2(
        block.conv2(block.relu(block.bn1(block.conv1(shift(maps, 8).flatten(0, 1)))))
    )
    by_hand = torch.relu(branch + maps.flatten(0, 1)).view_as(maps)

    torch.testing.assert_close(encoder._block(block, maps), by_hand)


@torch.no_grad()
def test_without_a_channel_to_shift_tsm_is_resnet18():
    clip = torch.randn(2, 3, 3, 32, 32)

    plain = built(ResNet18).eval()(clip)

    torch.testing.assert_close(built(TSM, part=1024).eval()(clip), plain)
    assert not torch.allclose(built(TSM).eval()(clip), plain, rtol=1e-3)


@torch.no_grad()
def test_a_single_picture_is_not_shifted():
    clip = torch.randn(2, 1, 3, 32, 32)

    torch.testing.assert_close(built(TSM).eval()(clip), built(ResNet18).eval()(clip))


@torch.no_grad()
def test_the_order_of_pictures_matters_to_tsm():
    encoder, clip = built(TSM).eval(), torch.randn(1, 3, 3, 32, 32)

    assert not torch.allclose(encoder(clip), encoder(clip.flip(1)), rtol=1e-3)


def test_tsm_shifts_a_part():
    with pytest.raises(ConfigError, match="part is 2 or more; got 1"):
        TSM(3, part=1)


def test_middles_of_segments_by_hand():
    # Ten pictures in three segments: floor(.5 * 10 / 3) = 1, floor(1.5 * 10 / 3) = 5, and 8.
    assert middles(10, 3) == [1, 5, 8]
    assert middles(3, 3) == [0, 1, 2]
    assert middles(2, 3) == [0, 1]


@torch.no_grad()
def test_tsn_is_the_mean_of_the_middles_of_its_segments():
    encoder, clip = built(TSN).eval(), torch.randn(2, 10, 3, 32, 32)

    plain = built(ResNet18).eval()

    expected = plain(clip[:, [1, 5, 8]])
    with counting_waits() as waits:
        feature = encoder(clip)

    assert waits.count == 0
    torch.testing.assert_close(feature, expected)


def test_dropout_of_tsn_is_on_the_mean_feature_and_in_training_only():
    encoder, clip = built(TSN, dropout=0.5), torch.randn(2, 2, 3, 32, 32)
    with torch.no_grad():
        dropped, maps = encoder.train()(clip), encoder._maps(clip)
        plain = encoder.pool(maps)

    kept = dropped != 0
    assert 0 < kept.sum() < kept.numel()
    torch.testing.assert_close(dropped[kept], 2 * plain[kept])
    assert torch.equal(encoder.eval()(clip), encoder(clip))


@pytest.fixture
def weights(tmp_path):
    with seeded(1):
        torch.save(resnet18(weights=None).state_dict(), tmp_path / "weights.pth")
    return tmp_path / "weights.pth"


def test_partial_batch_normalisation_moves_the_first_alone(weights):
    encoder = TSN(3, weights=weights, partial_bn=True).train()
    before = {name: buffer.clone() for name, buffer in encoder.named_buffers()}

    encoder(torch.randn(2, 3, 3, 32, 32)).sum().backward()

    moved = {n for n, buffer in encoder.named_buffers() if not torch.equal(buffer, before[n])}
    assert {name.rpartition(".")[0] for name in moved} == {"net.bn1"}
    assert encoder.net.bn1.weight.grad is not None
    assert encoder.net.layer4[1].bn2.weight.grad is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"segments": 0}, "segments is 1 or more"),
        ({"dropout": 1.0}, r"dropout in \[0, 1\)"),
        ({"partial_bn": True}, "set weights too"),
    ],
)
def test_wrong_settings_of_tsn(settings, message):
    with pytest.raises(ConfigError, match=message):
        TSN(3, **settings)
