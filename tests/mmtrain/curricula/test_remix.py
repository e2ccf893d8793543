"""Remix: certainties by hand, the blocks of an epoch, and the bytes that it reads."""

import numpy as np
import pytest
import torch

from mmtrain.curricula.remix import Remix, blocks, certainties
from mmtrain.data import OrderedStream, View, open_dataset
from mmtrain.errors import ConfigError
from mmtrain.tasks.classification import Classification
from tests.support.enginework import running, small
from tests.support.streammaker import make_data, record_reads

TWO = ("audio", "visual")
THREE = (*TWO, "flow")
NAN = float("nan")


class Model:
    def __init__(self, modalities):
        self.modalities = modalities


class Scorer:
    """A run of many samples, without the run; its certainties are given by modality."""

    method, task = None, Classification(3)

    def __init__(self, seed=0, **values):
        self.model = Model(tuple(values))
        self.facts = {f"certainty.{m}": torch.tensor(v) for m, v in values.items()}
        self.seed, self.epoch, self.passes = seed, 0, 0
        self.ids = np.arange(100, 100 + len(next(iter(values.values()))))

    def score(self, fn, split="train", ids=None):
        assert np.array_equal(ids, self.ids)
        self.passes += 1
        return self.facts

    def order(self, curriculum, epoch):
        self.epoch = epoch
        return curriculum.order(self)


def at_random(n=60, modalities=TWO, seed=0):
    values = np.random.default_rng(1).random((len(modalities), n), dtype=np.float32)
    return Scorer(seed, **dict(zip(modalities, values.tolist(), strict=True)))


def test_certainties_by_hand():
    # p = (.859684, .105274, .035043) has log2 3 - .484402 / ln 2 = 1.58496 - .69884 bits;
    # p = (.461488, .309344, .229168) has 1.58496 - 1.057455 / ln 2 = 1.58496 - 1.52559.
    logits = {"audio": torch.tensor([[2.1, 0, -1.1]]), "visual": torch.tensor([[0.6, 0.2, -0.1]])}
    k = certainties(logits)
    assert k["audio"].item() == pytest.approx(0.886118, abs=1e-6)
    assert k["visual"].item() == pytest.approx(0.059377, abs=1e-6)


def test_certainty_is_between_nothing_and_the_bits_of_a_class():
    for classes, bits in ((2, 1), (8, 3)):
        sure, unsure = torch.zeros(2, classes).unbind()
        sure = sure.index_fill(0, torch.tensor(0), 1e4)
        k = certainties({"audio": torch.stack([sure, unsure])})["audio"]
        assert k.tolist() == pytest.approx([bits, 0], abs=1e-6)


def test_a_sample_belongs_to_its_smallest():
    facts = {
        "a": np.float32([0.9, 0.1, 0.5, NAN, NAN]),
        "v": np.float32([0.1, 0.9, 0.5, NAN, 3.0]),
    }
    found = {name: mask.tolist() for name, mask in blocks(facts).items()}
    # Of equals the last by name; the block of that one comes first.
    assert [*found] == ["v", "a"]
    assert found["v"] == [True, False, True, True, True]
    assert found["a"] == [False, True, False, False, False]


def test_the_warm_up_shows_all_and_looks_at_nothing():
    run, curriculum = at_random(), Remix(warm_up=2)
    rows = []
    for epoch in range(3):
        order = run.order(curriculum, epoch)
        rows.append(curriculum.memory.row())
        assert sorted(order.ids.tolist()) == run.ids.tolist()
        assert bool(order.shown) == (epoch == 2)
    assert run.passes == 1
    assert {*rows[0]} == {*rows[2]} == {"score", "measured", "certainty.audio", "certainty.visual"}
    assert np.isnan(rows[1]["score"]).all()
    lead = abs(rows[2]["certainty.audio"] - rows[2]["certainty.visual"])
    assert rows[2]["score"] == pytest.approx(lead)


@pytest.mark.parametrize("modalities", [TWO, THREE], ids=["two", "three"])
def test_each_sample_comes_once_with_its_least_certain_modality(modalities):
    run = at_random(modalities=modalities)
    order = run.order(Remix(warm_up=0), 0)

    assert sorted(order.ids.tolist()) == run.ids.tolist()
    k = np.stack([run.facts[f"certainty.{m}"].numpy() for m in modalities])[:, order.ids - 100]
    for modality, own in zip(modalities, k, strict=True):
        assert (order.shown[modality] == (own == k.min(0))).all()
    # A block a modality, the visual first and audio last.
    first = {m: np.flatnonzero(mask) for m, mask in order.shown.items()}
    assert all(np.ptp(places) == len(places) - 1 for places in first.values())
    assert [*sorted(first, key=lambda m: first[m][0])] == sorted(modalities, reverse=True)


def test_one_modality_may_have_all_samples():
    order = Scorer(audio=[0.9, 0.8], visual=[0.1, 0.2]).order(Remix(warm_up=0), 0)
    assert order.shown["visual"].all()
    assert not order.shown["audio"].any()


def test_samples_are_scored_every_so_often():
    run, curriculum = at_random(), Remix(warm_up=1, every=3)
    for epoch in range(7):
        run.order(curriculum, epoch)
    assert run.passes == 3  # When the warm-up is over, and in epochs 3 and 6.


def test_an_order_is_a_function_of_seed_epoch_and_certainties():
    def orders(seed):
        run, curriculum = at_random(seed=seed), Remix(warm_up=0, every=0)
        return [run.order(curriculum, epoch).digest() for epoch in range(2)]

    assert orders(0) == orders(0)
    assert len({*orders(0), *orders(1)}) == 4


def test_memory_survives_a_checkpoint():
    run, curriculum = at_random(), Remix(warm_up=0)
    run.order(curriculum, 0)
    again = Remix(warm_up=0)
    again.memory.load_state_dict(curriculum.memory.state_dict())
    for epoch in (0, 1):
        mine, theirs = (c.visits(run.ids, 0, epoch).digest() for c in (curriculum, again))
        assert mine == theirs


def part_bytes(data, part, rows):
    """Shard and offset of every byte of ``part`` of some samples."""
    return {
        (data.index.shards[data.index.shard[row]], byte)
        for row in rows
        for member in data.index.members(row)[part]
        for byte in range(member.offset, member.offset + member.size)
    }


def test_no_byte_of_a_hidden_modality_is_read(tmp_path):
    store = record_reads(make_data(tmp_path))
    data = open_dataset(store)
    ids = data.ids("train")
    stream = OrderedStream(data, TWO, 4, View(frames=10, size=16))
    curriculum, amounts = Remix(warm_up=1), []
    run = at_random(len(ids))
    run.ids = ids
    for epoch in range(2):
        store.reads.clear()
        before = stream.traffic.bytes
        order = run.order(curriculum, epoch)
        stream.begin(order, seed=0, epoch=epoch)
        assert sum(len(batch) - int(batch.filler.sum()) for batch in stream) == len(ids)
        amounts.append(stream.traffic.bytes - before)
        assert amounts[-1] == sum(end - begin for _, begin, end in store.reads)
    read = {(path, byte) for path, begin, end in store.reads for byte in range(begin, end)}

    for modality, part in (("audio", "spectrogram"), ("visual", "frames")):
        mask = order.shown[modality]
        assert 0 < mask.sum() < len(ids)
        assert part_bytes(data, part, order.ids[mask]) <= read
        assert not part_bytes(data, part, order.ids[~mask]) & read
    shown = [
        member.size
        for row, visual in zip(order.ids, order.shown["visual"], strict=True)
        for member in data.index.members(row)["frames" if visual else "spectrogram"]
    ]
    everything = [
        member.size
        for row in ids
        for part in ("frames", "spectrogram")
        for member in data.index.members(row)[part]
    ]
    # Tar headers between members come on top, in both.
    assert sum(shown) <= amounts[1] < sum(everything) <= amounts[0]


def test_a_run_hides_all_but_the_least_certain(shards, tmp_path):
    config = small(shards, curriculum="remix", settings={"curriculum": {"warm_up": 0}})
    with running(config, tmp_path) as run:
        order = run.curriculum.order(run)
        logits = run.score(lambda b: dict(run.model(b).logits), ids=order.ids)
        k = certainties({m: z.float() for m, z in logits.items()})
        audio = k["audio"] < k["visual"]
    assert order.shown["audio"].tolist() == audio.tolist()


@pytest.mark.parametrize("wrong", ["warm_up", "every"])
def test_impossible_values_are_refused(wrong):
    with pytest.raises(ConfigError, match=f"{wrong} is at least 0"):
        Remix(**{wrong: -1})
