"""Copying ahead, with a CUDA that is faked: batches stay on the CPU, everything else is real."""

import pytest
import torch

from mmtrain.config.run import OptimizerConfig
from mmtrain.errors import Interrupted
from mmtrain.evaluation.audit import audit
from mmtrain.methods.base import Method
from mmtrain.training import checkpoint
from mmtrain.training.checkpoint import CHECKPOINT
from mmtrain.training.feed import Reading
from mmtrain.training.prefetch import CopyAhead, PassThrough, prefetcher
from mmtrain.types import Batch
from tests.support.enginework import Stop, running, same, small
from tests.support.fakecuda import FakeCuda

CPU = torch.device("cpu")


def readings(log, count=3):
    for i in range(count):
        log.append(f"read {i}")
        batch = Batch.unlabelled({"audio": torch.full((1, 1, 2, 2), float(i))})
        yield Reading(batch, i + 1)


def test_one_batch_is_copied_while_the_one_before_is_trained():
    log = []
    for reading, here in CopyAhead(CPU, FakeCuda()).over(readings(log)):
        assert here.inputs["audio"].mean() == reading.position - 1
        log.append(f"step {reading.position - 1}")
    assert log == ["read 0", "read 1", "step 0", "read 2", "step 1", "step 2"]


def test_a_step_waits_for_its_copy_and_keeps_its_memory():
    cuda = FakeCuda()
    for _, here in CopyAhead(CPU, cuda).over(readings([], 2)):
        cuda.calls.append(("step",))
        assert {stream for _, stream in cuda.kept} == {"computing"}
        kept = [tensor for tensor, _ in cuda.kept]
        for tensor in (here.ids, here.target, here.filler, here.inputs["audio"]):
            assert any(tensor is each for each in kept)
    copy, wait, step = ("copy", "copies"), ("wait", "computing"), ("step",)
    assert cuda.calls == [copy, copy, wait, step, wait, step]


@pytest.mark.parametrize("make", [PassThrough, lambda device: CopyAhead(device, FakeCuda())])
def test_no_batch_is_lost_or_repeated(make):
    for count in range(4):
        given = [reading.position for reading, _ in make(CPU).over(readings([], count))]
        assert given == [*range(1, count + 1)]


def test_waiting_is_the_time_in_which_the_device_is_idle(monkeypatch):
    cuda, clock = FakeCuda(), [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])

    def slow():
        for reading in readings([], 3):
            # The CPU waits 5 s for each batch; the device gets on by 2 s of idleness meanwhile.
            clock[0] += 5
            cuda.time += 2
            yield reading

    ahead = CopyAhead(CPU, cuda)
    source = ahead.over(slow())
    next(source)
    # Before the first step two batches are read: 4 s of the device, of 10 s of the CPU.
    assert ahead.waited() == 4
    cuda.reached = cuda.time  # The device does not get beyond this step for now.
    cuda.time += 1
    next(source)
    assert ahead.waited() == 0
    cuda.reached = float("inf")
    assert ahead.waited() == 2
    assert ahead.waited() == 0


def test_a_gap_that_is_no_waiting_for_data_does_not_count(monkeypatch):
    cuda, clock = FakeCuda(), [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    ahead = CopyAhead(CPU, cuda)

    def source():
        for reading in readings([], 2):
            cuda.time += 30  # The device idles for another reason while the CPU waits 1 s.
            clock[0] += 1
            yield reading

    next(ahead.over(source()))
    assert ahead.waited() == 2


def test_the_cpu_counts_its_own_waiting(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    through = PassThrough(CPU)

    def slow():
        for reading in readings([], 2):
            clock[0] += 3
            yield reading

    for _ in through.over(slow()):
        clock[0] += 100
        assert through.waited() == 3
    assert isinstance(prefetcher(CPU), PassThrough)


def train_ahead(config, folder, *stops):
    """Trains with copies ahead; is stopped, and goes on, as often as there are ``stops``."""
    for stop in (*stops, None):
        watch, method = Stop(*([] if stop is None else [stop])), Method()
        with running(config, folder, method, watch) as run:
            watch.run, run.prefetcher = run, CopyAhead(CPU, FakeCuda())
            if stop is None:
                method.fit(run)
            else:
                with pytest.raises(Interrupted):
                    method.fit(run)


def test_a_run_that_copies_ahead_stops_and_goes_on_bit_for_bit(shards, tmp_path):
    config = small(shards, optimizer=OptimizerConfig(lr=0.02), save_every_steps=2)
    with running(config, tmp_path / "plain") as run:
        run.method.fit(run)

    train_ahead(config, tmp_path / "straight")
    # In the middle, before the last step of an epoch, and behind it.
    train_ahead(config, tmp_path / "stopped", 2, 4, 7)

    assert same(tmp_path / "plain", tmp_path / "straight")
    assert same(tmp_path / "plain", tmp_path / "stopped")
    assert not audit(tmp_path / "stopped").wrong


def test_a_checkpoint_counts_the_batch_in_hand_and_not_the_one_ahead(shards, tmp_path):
    watch, method = Stop(2), Method()
    with running(small(shards), tmp_path, method, watch) as run:
        watch.run, run.prefetcher = run, CopyAhead(CPU, FakeCuda())
        with pytest.raises(Interrupted, match="step 2 of 5"):
            method.fit(run)
    saved = checkpoint.load(tmp_path / CHECKPOINT)
    assert saved["stream"]["position"] == sum(saved["visits"]) == 8
    assert not audit(tmp_path).wrong
