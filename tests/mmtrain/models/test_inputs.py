import pytest
import torch

from mmtrain.models.inputs import Frames, Planes, Preparation, Spectrogram

SHOWN = torch.tensor([True, False, True])


class Padded(Preparation):
    hidden = 5


@pytest.mark.parametrize("shape", [(3,), (3, 4), (3, 2, 3, 4, 4)])
def test_hidden_samples_become_zero_whatever_the_rank(shape: tuple[int, ...]) -> None:
    prepared = torch.full(shape, 2.0)

    result = Preparation().hide(prepared, SHOWN)

    assert result[0].eq(2).all()
    assert result[1].eq(0).all()
    assert result[2].eq(2).all()
    assert prepared.eq(2).all()


def test_hidden_samples_may_hold_what_is_no_number() -> None:
    prepared = torch.full((3, 2), torch.nan)
    assert Preparation().hide(prepared, SHOWN)[1].tolist() == [0, 0]


def test_a_preparation_may_hide_by_another_value_and_keeps_the_type() -> None:
    result = Padded().hide(torch.zeros(3, 2, dtype=torch.int64), SHOWN)

    assert result.dtype == torch.int64
    assert result.tolist() == [[0, 0], [5, 5], [0, 0]]


def test_hidden_samples_get_no_gradient() -> None:
    prepared = torch.ones(3, 2, requires_grad=True)
    Preparation().hide(prepared, SHOWN).sum().backward()
    assert prepared.grad is not None
    assert prepared.grad.tolist() == [[1, 1], [0, 0], [1, 1]]


@pytest.mark.parametrize("make", [Frames, Planes, Spectrogram])
def test_preparations_have_nothing_to_save(make: type[Preparation]) -> None:
    assert make().state_dict() == {}
    assert [*make().parameters()] == []
