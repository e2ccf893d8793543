import torch

from mmtrain.types import Batch

BATCH = Batch.unlabelled({"audio": torch.zeros(3, 1, 2, 2), "visual": torch.zeros(3, 1, 3, 2, 2)})


def mask(*values: bool) -> torch.Tensor:
    return torch.tensor(values)


def test_hiding_adds_to_what_is_hidden_already():
    once = BATCH.hiding(audio=mask(True, False, False))
    twice = once.hiding(audio=mask(False, True, False), visual=mask(False, False, True))

    assert BATCH.shown == {}
    assert once.shown["audio"].tolist() == [False, True, True]
    assert twice.shown["audio"].tolist() == [False, False, True]
    assert twice.shown["visual"].tolist() == [True, True, False]


def test_only_hides_every_other_modality():
    shown = BATCH.only("audio").shown

    assert shown.keys() == {"visual"}
    assert not shown["visual"].any()
