"""SMV: values and copies by hand, then the visits of an epoch."""

from collections import Counter

import numpy as np
import pytest
import torch

from mmtrain.curricula.smv import SMV, copies, valued, weakest
from mmtrain.errors import ConfigError, UnknownName
from mmtrain.functional.shapley import subsets
from mmtrain.tasks.classification import Classification
from tests.support.enginework import running, small

TWO = ("audio", "visual")
THREE = (*TWO, "flow")
# (v_a, v_v, v_av) to (Phi_a, Phi_v): Phi_a = (v_a + v_av - v_v) / 2.
TABLE = {
    (0, 0, 0): (0, 0),
    (0, 0, 2): (1, 1),
    (0, 1, 0): (-0.5, 0.5),
    (0, 1, 2): (0.5, 1.5),
    (1, 0, 0): (0.5, -0.5),
    (1, 0, 2): (1.5, 0.5),
    (1, 1, 0): (0, 0),
    (1, 1, 2): (1, 1),
}


class Model:
    modalities = TWO


class Scorer:
    """A run of many samples, without the run; its values are given."""

    model, method, task = Model(), None, Classification(3)

    def __init__(self, audio, visual, seed=0):
        self.values = {"audio": np.float32(audio), "visual": np.float32(visual)}
        self.seed, self.epoch, self.looks = seed, 0, []
        self.ids = np.arange(100, 100 + len(self.values["audio"]))

    def score(self, fn, split="train", ids=None):
        self.looks.append(ids)
        return {m: torch.from_numpy(v[ids - 100]) for m, v in self.values.items()}

    def order(self, curriculum, epoch):
        self.epoch = epoch
        return curriculum.order(self)


def counted(order):
    """Number of visits of each sample, by the modalities that it shows."""
    shown = {m: order.shown.get(m, np.ones(len(order), bool)) for m in TWO}
    rows = zip(order.ids.tolist(), *(mask.tolist() for mask in shown.values()), strict=True)
    return Counter((i, tuple(m for m, s in zip(shown, own, strict=True) if s)) for i, *own in rows)


def test_the_table_of_values():
    right, wrong = [1.0, 0.0], [0.0, 1.0]
    rows = {
        s: torch.tensor([right if worth[i] else wrong for worth in TABLE])
        for i, s in enumerate(subsets(TWO))
    }
    values = valued(rows, torch.zeros(len(TABLE), dtype=torch.int64), TWO)

    found = zip(values["audio"].tolist(), values["visual"].tolist(), strict=True)
    assert [*found] == [*TABLE.values()]


@pytest.mark.parametrize("modalities", [("audio",), TWO, THREE])
def test_values_sum_to_what_all_are_worth(modalities):
    generator = torch.Generator().manual_seed(0)
    logits = {s: torch.randn(40, 3, generator=generator) for s in subsets(modalities)}
    target = torch.randint(3, (40,), generator=generator)
    total = torch.stack([*valued(logits, target, modalities).values()]).sum(0)
    right = logits[modalities].argmax(-1) == target
    torch.testing.assert_close(total, len(modalities) * right.float())


def test_copies_by_hand():
    value = np.float32([1.5, 1, 0.5, 0, -0.5, np.nan, 1 / 3 + 1 / 3 + 1 / 3, 5 / 6, 1 / 6])
    assert copies(value).tolist() == [0, 0, 1, 2, 3, 0, 0, 1, 2]


def test_the_gap_by_hand():
    # 2/3 (.8 - .3); values that were not looked at do not count.
    facts = {"audio": np.float32([1, 0.6, np.nan]), "visual": np.float32([0.5, 0.1, np.nan])}
    low, p = weakest(facts, 1.0)
    assert (low, p) == ("visual", pytest.approx(1 / 3))
    assert weakest(facts, 1.5)[1] == pytest.approx(0.5)
    nothing = {m: np.full(2, np.nan, np.float32) for m in TWO}
    assert weakest(nothing, 1.0)[1] == 0


def test_samples_come_again_with_the_modality_that_lacks():
    # Values of the table: (0, 0) has two copies each, (.5, 1.5) one, (-.5, .5) three and one.
    run = Scorer(audio=[0, 1, -0.5, 0.5], visual=[0, 1, 0.5, 1.5])
    order = run.order(SMV(warm_up=0), 0)

    assert counted(order) == {
        **{(i, TWO): 1 for i in range(100, 104)},
        (100, ("audio",)): 2,
        (100, ("visual",)): 2,
        (102, ("audio",)): 3,
        (102, ("visual",)): 1,
        (103, ("audio",)): 1,
    }


def test_the_weaker_modality_comes_alone_by_chance():
    run = Scorer(audio=np.full(300, 0.8), visual=np.full(300, 0.3))
    order = run.order(SMV(level="modality", warm_up=0), 0)

    visits = counted(order)
    assert sum(n for (_, shown), n in visits.items() if shown == ("visual",)) == 100  # 300 / 3
    assert not any(shown == ("audio",) for _, shown in visits)
    assert sum(visits.values()) == 400
    (looked,) = run.looks
    assert len({*looked.tolist()}) == 60  # A fifth.
    again = run.order(SMV(level="modality", warm_up=0), 1)
    assert not np.array_equal(*run.looks)
    assert again.ids.tolist() != order.ids.tolist()


def test_with_level_modalities_there_are_no_copies():
    for level in ("sample", "modality"):
        run = Scorer(audio=np.ones(20), visual=np.ones(20))
        order = run.order(SMV(level=level, warm_up=0), 0)
        assert counted(order) == {(i, TWO): 1 for i in run.ids.tolist()}


def test_the_warm_up_looks_at_nothing_and_has_the_columns_of_later():
    run, curriculum = Scorer(audio=np.zeros(10), visual=np.ones(10)), SMV(warm_up=2)
    lengths, rows = [], []
    for epoch in range(4):
        lengths.append(len(run.order(curriculum, epoch)))
        rows.append(curriculum.memory.row())
    assert lengths == [10, 10, 30, 30]
    assert len(run.looks) == 2
    assert np.isnan(rows[1]["score"]).all()
    assert {*rows[0]} == {*rows[3]} == {"score", "measured", "value.audio", "value.visual"}
    assert rows[3]["score"].tolist() == [2] * 10


def test_an_order_is_a_function_of_seed_epoch_and_values():
    def orders(seed):
        run, curriculum = Scorer(np.zeros(20), np.ones(20), seed), SMV(warm_up=0, every=0)
        return [run.order(curriculum, epoch).digest() for epoch in range(2)]

    assert orders(0) == orders(0)
    assert len({*orders(0), *orders(1)}) == 4


def test_memory_survives_a_checkpoint():
    run, curriculum = Scorer(np.zeros(20), np.linspace(-0.5, 1.5, 20)), SMV(warm_up=0)
    run.order(curriculum, 0)
    again = SMV(warm_up=0)
    again.memory.load_state_dict(curriculum.memory.state_dict())
    for epoch in (0, 1):
        mine, theirs = (c.visits(run.ids, 0, epoch).digest() for c in (curriculum, again))
        assert mine == theirs


@pytest.mark.parametrize("level", ["sample", "modality"])
def test_a_run_values_its_samples_by_hidden_modalities(shards, tmp_path, level):
    curriculum = SMV(level=level, warm_up=0, share=1.0)
    with running(small(shards, modalities=THREE), tmp_path) as run:
        facts = curriculum.measure(run)
        worth = {}
        for s in subsets(THREE):
            right = run.score(lambda b, s=s: run.model(b.only(*s)).fused.argmax(-1) == b.target)
            worth[s] = len(s) * right.cpu().numpy()
        alone, pairs = worth[("audio",)], (worth[TWO], worth[("audio", "flow")])
        others = worth[("visual", "flow")], worth[("visual",)], worth[("flow",)]
        expected = (alone + worth[THREE] - others[0]) / 3
        expected = expected + (pairs[0] - others[1] + pairs[1] - others[2]) / 6
        assert facts["value.audio"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"level": "samples"}, "did you mean sample"),
        ({"warm_up": -1}, "warm_up is at least 0"),
        ({"every": -1}, "every is at least 0"),
        ({"alpha": -0.1}, "alpha is at least 0"),
        ({"share": 0}, "share is in"),
    ],
)
def test_impossible_values_are_refused(wrong, error):
    with pytest.raises((ConfigError, UnknownName), match=error):
        SMV(**wrong)
