"""Steps whose samples are damaged, in part or altogether, on one rank and on two."""

import json
import shutil
import tarfile
from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn

from mmtrain.config.run import OptimizerConfig
from mmtrain.curricula.uniform import Uniform
from mmtrain.data import open_dataset
from mmtrain.evaluation.audit import audit
from mmtrain.methods.base import Method
from mmtrain.training import checkpoint
from mmtrain.training.batch_norm import preserve_statistics
from mmtrain.training.checkpoint import CHECKPOINT
from mmtrain.training.train import train
from tests.support.enginework import lines, running, small
from tests.support.ranked import carry_out


def damaged_copy(shards, folder, visits):
    """The shards, in which the samples at ``visits`` of the first epoch are damaged."""
    shutil.copytree(shards, folder)
    with open_dataset(str(folder)) as dataset:
        order = Uniform().visits(dataset.ids("train"), 0, 0).ids
        keys = [dataset.key(order[visit]) for visit in visits]
    path = folder / "train/000000.tar"
    with tarfile.open(path) as tar:
        places = [tar.getmember(f"{key}.spectrogram.npy").offset_data for key in keys]
    with path.open("r+b") as file:
        for place in places:
            file.seek(place + 200)
            byte = file.read(1)[0]
            file.seek(place + 200)
            file.write(bytes([byte ^ 255]))
    return folder


def config_of(shards, **changes):
    given = {"skip_corrupt": True, "epochs": 1, "optimizer": OptimizerConfig(lr=0.02)}
    return small(shards, **{**given, **changes})


# Of 18 visits in steps of 2, the third and the last are damaged whole, the fifth by half; of steps
# of 17, the last has one visit.
CASES = {"steps": (2, (4, 5, 8, 16, 17), 7), "last": (17, (17,), 1)}


@pytest.fixture(scope="module", params=CASES)
def case(request, shards, tmp_path_factory):
    """Folder of runs on one rank and on two; numbers of steps and of damaged samples."""
    folder = tmp_path_factory.mktemp("damaged")
    size, visits, steps = CASES[request.param]
    config = config_of(damaged_copy(shards, folder / "shards", visits), batch_size=size)
    train(config, folder / "1")
    carry_out([str(folder / "2"), config.to_json(), 2])
    return folder, steps, len(visits)


@pytest.mark.slow
@pytest.mark.parametrize("world", ["1", "2"])
def test_a_step_of_damaged_samples_only_is_none(case, world):
    folder, steps, damaged = case
    saved = checkpoint.load(folder / world / CHECKPOINT)
    assert saved["steps"] == steps
    assert all(value.isfinite().all() for value in saved["model"].values())
    (verdict,) = audit(folder / world).wrong
    assert (len(verdict.missed), verdict.repeated) == (damaged, {})


@pytest.mark.slow
def test_two_ranks_come_to_what_one_comes_to(case):
    folder, *_ = case
    one, two = (checkpoint.load(folder / world / CHECKPOINT) for world in ("1", "2"))
    for name, value in one["model"].items():
        torch.testing.assert_close(two["model"][name], value, rtol=1e-4, atol=1e-5)
    losses = [lines(folder / world)[0]["train_loss"] for world in ("1", "2")]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    results = [json.loads((folder / w / "result.json").read_text())["test"] for w in ("1", "2")]
    assert results[0]["loss"] == pytest.approx(results[1]["loss"], abs=1e-4)


def test_no_method_sees_a_damaged_sample(shards, tmp_path):
    seen = []

    @dataclass(kw_only=True, eq=False)
    class Looking(Method):
        def step(self, run, batch):
            assert not batch.filler.any()
            seen.extend(batch.ids.tolist())
            super().step(run, batch)

    data = damaged_copy(shards, tmp_path / "shards", range(16, 18))
    method = Looking()
    with running(config_of(data, batch_size=2), tmp_path / "run", method) as run:
        order = Uniform().visits(run.ids, 0, 0).ids
        method.fit(run)
        assert seen == order[:16].tolist()
    assert lines(tmp_path / "run")[0]["logged"]["skipped"] == 2


def test_steps_of_single_damaged_samples_are_passed_over(shards, tmp_path):
    data = damaged_copy(shards, tmp_path / "shards", range(1, 18))
    method = Method()
    config = config_of(data, batch_size=1, epochs=2)
    with running(config, tmp_path / "run", method) as run:
        before = {n: v.clone() for n, v in run.model.state_dict().items()}
        method.fit(run)
        assert run.steps == 2
        assert any(not torch.equal(v, before[n]) for n, v in run.model.state_dict().items())
    for verdict in audit(tmp_path / "run").epochs:
        assert (len(verdict.missed), verdict.repeated) == (17, {})


@pytest.mark.slow
def test_a_rank_without_real_rows_leaves_its_statistics(shards, tmp_path):
    # Every second visit, which are those of rank 1.
    data = damaged_copy(shards, tmp_path / "shards", range(1, 18, 2))
    config = replace(config_of(data), batch_size=4)
    (tmp_path / "run").mkdir()

    carry_out([str(tmp_path / "run"), config.to_json(), 2, "batch_norm"])

    for rank, still in ((0, False), (1, True)):
        before, after = (torch.load(tmp_path / f"run/{rank}{name}.pt") for name in (".before", ""))
        changed = [not torch.equal(b, a) for b, a in zip(before, after, strict=True)]
        assert any(changed) is not still


def test_statistics_are_put_back_and_their_layers_stay_in_training():
    model = nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 2))
    before = {n: v.clone() for n, v in model.state_dict().items()}
    with preserve_statistics(model, False):
        model(torch.randn(4, 2))
    moved = {n: v.clone() for n, v in model.state_dict().items()}
    assert not torch.equal(moved["0.running_mean"], before["0.running_mean"])
    with preserve_statistics(model):
        model(torch.full((4, 2), torch.nan))
        assert model[0].training
    assert all(torch.equal(v, moved[n]) for n, v in model.state_dict().items())
