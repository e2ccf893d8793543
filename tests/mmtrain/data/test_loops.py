"""The stream in loops of other people: plain torch, its DataLoader, and the example of the docs."""

import importlib.util
from itertools import islice
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch.utils.data import DataLoader

from mmtrain.curricula.uniform import Uniform
from mmtrain.data import OrderedStream, SampleOrder, ShardedDataset, Share, StreamOptions, View
from mmtrain.data.foreign import ForeignStream, Layout
from mmtrain.errors import ConfigError
from mmtrain.types import Batch
from tests.support import ROOT
from tests.support.shardmaker import shards_of
from tests.support.streammaker import CLASSES, same

BOTH = ("audio", "visual")
VIEW = View(frames=3, size=24)
# Newer Pythons warn of threads, which these children do not use; torch of more workers than cores.
FORKS = pytest.mark.filterwarnings(
    "ignore:.*fork.*:DeprecationWarning", "ignore:This DataLoader will create"
)


def stream_of(farm: ShardedDataset, epoch: int = 0) -> OrderedStream:
    """A stream of 23 visits in four batches, ready to be iterated over."""
    stream = OrderedStream(farm, BOTH, 6, VIEW, options=StreamOptions(workers=2))
    begin(stream, epoch)
    return stream


def require_refusal(loader: DataLoader[Batch], message: str = "call begin") -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        list(loader)
    # It holds the loader's iterator: left to a search for garbage, that waits five seconds for each
    # of its processes.
    caught.value.__traceback__ = None
    del caught


def begin(stream: OrderedStream, epoch: int) -> None:
    order = Uniform().visits(stream.dataset.ids("train"), 0, epoch)
    stream.begin(order, seed=0, epoch=epoch)


def assert_same(some: list[Batch], others: list[Batch]) -> None:
    assert all(same(one, other) for one, other in zip(some, others, strict=True))


def test_the_state_is_the_number_of_visits_handed_out(farm: ShardedDataset) -> None:
    stream = stream_of(farm)
    positions = [stream.state_dict()["position"]]
    positions += [stream.state_dict()["position"] for _ in stream]
    # Batches of 6, of which the last has 5; those that threads make ahead do not count.
    assert positions == [0, 6, 12, 18, 23]


def test_a_second_iteration_without_begin_is_refused(farm: ShardedDataset) -> None:
    stream = stream_of(farm)
    list(stream)
    with pytest.raises(ConfigError, match=r"epoch 0 was iterated over already; call begin"):
        iter(stream)
    begin(stream, 1)
    assert len(list(stream)) == 4


def test_a_second_iteration_is_refused_in_the_middle_of_an_epoch_too(farm: ShardedDataset) -> None:
    stream = stream_of(farm)
    batches = iter(stream)
    next(batches)
    with pytest.raises(ConfigError, match="iterated over already"):
        iter(stream)
    assert len(list(batches)) == 3


def test_an_iterator_that_was_dropped_before_its_first_batch_does_not_count(
    farm: ShardedDataset,
) -> None:
    stream = stream_of(farm)
    dropped = iter(stream)
    assert_same(list(iter(stream)), list(stream_of(farm)))
    with pytest.raises(ConfigError, match="iterated over already"):
        next(dropped)


def test_a_loaded_state_allows_to_iterate_over_the_rest(farm: ShardedDataset) -> None:
    straight, stream = list(stream_of(farm)), stream_of(farm)
    state = [stream.state_dict() for _ in stream][1]
    begin(stream, 0)
    stream.load_state_dict(state)
    assert_same(list(stream), straight[2:])


def test_a_position_outside_the_order_is_refused(farm: ShardedDataset) -> None:
    stream = stream_of(farm)
    for position in (-1, 24):
        with pytest.raises(ConfigError, match=f"position {position} of an order of 23 visits"):
            stream.begin(SampleOrder(farm.ids("train")), seed=0, epoch=0, position=position)


def test_the_length_is_the_number_of_batches_that_iterating_gives(farm: ShardedDataset) -> None:
    stream = stream_of(farm)
    assert [len(stream) for _ in stream] == [4, 4, 4, 4]
    state = stream_of(farm).state_dict()
    for position, left in ((0, 4), (12, 2), (18, 1), (23, 0)):
        begin(stream, 0)
        stream.load_state_dict({**state, "position": position})
        assert len(stream) == left
        assert len(list(stream)) == left
    assert stream


def test_the_length_of_no_epoch_is_refused(farm: ShardedDataset) -> None:
    stream = OrderedStream(farm, BOTH, 6, VIEW)
    assert stream
    with pytest.raises(ConfigError, match="no epoch was begun"):
        len(stream)


def test_a_loader_gives_the_batches_of_the_stream_epoch_by_epoch(farm: ShardedDataset) -> None:
    stream = stream_of(farm)
    loader = DataLoader(stream, batch_size=None)
    for epoch in range(2):
        begin(stream, epoch)
        assert len(loader) == 4
        # The length is asked for at each step, as progress bars may.
        batches = [batch for batch in loader if len(loader) == 4]
        assert_same(batches, list(stream_of(farm, epoch)))


def test_a_loader_that_was_stopped_resumes_exactly(farm: ShardedDataset) -> None:
    straight, stream = list(stream_of(farm)), stream_of(farm)
    first = list(islice(DataLoader(stream, batch_size=None), 2))
    resumed = stream_of(farm)
    resumed.load_state_dict(stream.state_dict())
    loader = DataLoader(resumed, batch_size=None)

    assert len(loader) == 2
    assert_same(first + list(loader), straight)


def test_loaders_of_two_ranks_visit_each_sample_once(farm: ShardedDataset) -> None:
    ids = []
    for rank in range(2):
        stream = OrderedStream(farm, BOTH, 6, VIEW, Share(rank=rank, ranks=2))
        begin(stream, 0)
        loader = DataLoader(stream, batch_size=None)
        ids += [i for batch in loader for i in batch.ids[~batch.filler].tolist()]
    assert sorted(ids) == farm.ids("train").tolist()


def test_a_loader_of_a_second_epoch_without_begin_is_refused(farm: ShardedDataset) -> None:
    loader = DataLoader(stream_of(farm), batch_size=None)
    list(loader)
    require_refusal(loader)


@pytest.mark.parametrize("batch_size", [1, 2])
def test_a_loader_that_makes_batches_of_batches_is_refused(
    batch_size: int, farm: ShardedDataset
) -> None:
    with pytest.raises(ConfigError, match="give the DataLoader batch_size=None"):
        list(DataLoader(stream_of(farm), batch_size=batch_size))


def test_batches_of_batches_of_foreign_shards_are_refused(farm: ShardedDataset) -> None:
    stream = ForeignStream(farm.store, BOTH, 6, VIEW, Layout(classes=CLASSES))
    with pytest.raises(ConfigError, match="give the DataLoader batch_size=None"):
        list(DataLoader(stream, batch_size=2))


def test_a_second_pass_over_foreign_shards_needs_begin(farm: ShardedDataset) -> None:
    stream = ForeignStream(farm.store, BOTH, 9, VIEW, Layout(classes=CLASSES))
    first = list(stream)
    with pytest.raises(ConfigError, match="call begin"):
        iter(stream)
    stream.begin(seed=0, epoch=0)
    assert_same(list(stream), first)


@FORKS
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_worker_processes_share_an_epoch_and_keep_its_order(
    workers: int, farm: ShardedDataset
) -> None:
    stream = stream_of(farm)
    loader = DataLoader(stream, batch_size=None, num_workers=workers)
    assert_same(list(loader), list(stream_of(farm)))
    # Only their loader could know what they have handed out.
    with pytest.raises(ConfigError, match="StatefulDataLoader, or give the DataLoader num_workers"):
        stream.state_dict()
    begin(stream, 1)
    assert stream.state_dict()["position"] == 0


@FORKS
def test_workers_that_stay_need_to_be_begun_again_too(farm: ShardedDataset) -> None:
    stream = stream_of(farm)
    loader = DataLoader(stream, batch_size=None, num_workers=2, persistent_workers=True)
    list(loader)
    require_refusal(loader)


@FORKS
def test_new_workers_do_not_repeat_an_epoch(farm: ShardedDataset) -> None:
    loader = DataLoader(stream_of(farm), batch_size=None, num_workers=2)
    list(loader)
    require_refusal(loader)


@pytest.mark.slow
def test_processes_that_are_not_forked_are_seen_as_well(farm: ShardedDataset) -> None:
    stream = stream_of(farm)
    loader = DataLoader(stream, batch_size=None, num_workers=1, multiprocessing_context="spawn")
    assert_same(list(loader), list(stream_of(farm)))
    with pytest.raises(ConfigError, match="their loader has the state"):
        stream.state_dict()
    require_refusal(loader)


def test_worker_processes_are_refused_for_foreign_shards(farm: ShardedDataset) -> None:
    stream = ForeignStream(farm.store, BOTH, 6, VIEW, Layout(classes=CLASSES))
    loader = DataLoader(stream, batch_size=None, num_workers=2)
    require_refusal(loader, r"num_workers=0.*StreamOptions\(workers=")


def test_a_batch_pins_every_tensor(farm: ShardedDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    # Page-locked memory needs a GPU; here a copy stands for it.
    monkeypatch.setattr(torch.Tensor, "pin_memory", torch.Tensor.clone)
    stream = OrderedStream(farm, BOTH, 6, VIEW)
    ids = farm.ids("train")
    stream.begin(SampleOrder(ids, {"audio": ids % 2 == 0}), seed=0, epoch=0)
    batch = next(iter(stream))
    pinned = batch.pin_memory()

    assert same(pinned, batch)
    assert pinned.inputs["visual"].stride() == batch.inputs["visual"].stride()
    pairs = zip(tensors(pinned), tensors(batch), strict=True)
    assert all(one.data_ptr() != other.data_ptr() for one, other in pairs)


def tensors(batch: Batch) -> list[torch.Tensor]:
    named = (batch.ids, batch.target, batch.filler)
    return [*named, *batch.inputs.values(), *batch.shown.values()]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_a_loader_may_pin_the_batches(farm: ShardedDataset) -> None:
    loader = DataLoader(stream_of(farm), batch_size=None, pin_memory=True)
    assert all(tensor.is_pinned() for batch in loader for tensor in tensors(batch))


@pytest.fixture
def own_loop() -> ModuleType:
    """The example of the documentation."""
    path = ROOT / "docs/examples/own_loop.py"
    spec = importlib.util.spec_from_file_location("own_loop", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_example_trains_and_resumes_exactly(
    tmp_path: Path, own_loop: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = str(shards_of(tmp_path / "shards"))
    straight = own_loop.main(shards, epochs=2)
    # 18 samples in batches of 16: two steps an epoch. The third is in the middle of the second.
    monkeypatch.setattr(own_loop, "SAVE_EVERY", 3)
    interrupted = own_loop.main(shards, 2, tmp_path / "state.pt")
    rest = own_loop.main(shards, 2, tmp_path / "state.pt")

    assert len(straight) == 4
    assert interrupted == straight
    assert rest == straight[3:]
