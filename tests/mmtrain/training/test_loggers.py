"""Loggers with the real libraries, on files of metrics; no training but in one test."""

import itertools
import json
import logging
import struct
import threading
from collections import Counter

import pytest

from mmtrain.errors import UnknownName
from mmtrain.training.beacon import PROGRESS
from mmtrain.training.loggers import mlflow, tensorboard, wandb
from mmtrain.training.loggers.base import Subject
from mmtrain.training.loggers.sender import Sender
from mmtrain.training.run import METRICS
from mmtrain.training.train import RESULT, train
from tests.support.reportwork import judged, metrics
from tests.support.taskwork import tiny

# What the libraries of others warn of is theirs.
pytestmark = pytest.mark.filterwarnings("ignore")
POINTS = ["train/loss", "val/accuracy", "val.audio/accuracy"]


class Notes:
    """A logger that keeps what it gets."""

    id = "here"

    def __init__(self, subject):
        self.subject, self.points, self.ends = subject, [], []

    def log(self, values, epoch):
        self.points.append((epoch, values))

    def close(self, outcome):
        self.ends.append(outcome)


def write(folder, epochs):
    """A run of so many epochs, the last line half written."""
    lines = [json.dumps(metrics(i, 0.25, ("audio", "visual"))) for i in range(epochs)]
    (folder / METRICS).write_text("\n".join([*lines, '{"epoch": 9, "tr']))
    (folder / RESULT).write_text(json.dumps({"test": judged(0.5, ("audio", "visual"))}))


def sender(folder, start, name="notes"):
    subject = Subject(folder=folder, name="cmp/joint/seed-0", config={"optimizer.lr": 0.1})
    return Sender(name, start, subject, folder / METRICS, folder / RESULT)


def train_in_two_goes(folder, start, name):
    """Two epochs, a stop, and a third one by a process that resumes."""
    write(folder, 2)
    first = sender(folder, start, name)
    first.wake()
    first.close("stopped", 300)
    write(folder, 3)
    sender(folder, start, name).close("finished", 300)


def test_a_resumed_run_sends_what_is_lacking_and_nothing_twice(tmp_path):
    made = []

    def start(subject):
        made.append(Notes(subject))
        return made[-1]

    train_in_two_goes(tmp_path, start, "notes")
    (first, second) = made
    assert [epoch for epoch, _ in first.points] == [1, 2]
    assert [epoch for epoch, _ in second.points] == [3, 3]
    assert second.points[1][1]["test/accuracy"] == 0.5
    assert (first.subject.id, second.subject.id) == (None, "here")
    assert second.subject.epochs == 2
    assert (first.ends, second.ends) == (["stopped"], ["finished"])
    values = first.points[1][1]
    assert values["train/loss"] == 1.75
    assert values["val.audio/map"] == 0.125
    assert values["k/visual"] == 0.75


def test_a_logger_that_fails_is_named_once_and_training_goes_on(tmp_path, caplog):
    write(tmp_path, 2)

    def start(subject):
        raise SystemExit("no network")

    with caplog.at_level(logging.WARNING):
        broken = sender(tmp_path, start)
        for _ in range(3):
            broken.wake()
        broken.close("finished", 300)
    assert [r.message for r in caplog.records] == [
        "--log notes failed, and takes no more of this run: SystemExit: no network"
    ]


def test_a_logger_that_hangs_is_left_behind(tmp_path, caplog):
    write(tmp_path, 1)
    asleep = threading.Event()

    def start(subject):
        asleep.wait(600)
        return Notes(subject)

    hanging = sender(tmp_path, start)
    hanging.wake()
    with caplog.at_level(logging.WARNING):
        hanging.close("finished", 0.01)
    asleep.set()
    hanging.close("finished", 300)
    assert [r.message for r in caplog.records] == [
        "--log notes: the last points are not through yet; left behind"
    ]


def test_tensorboard_has_each_point_once(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    train_in_two_goes(tmp_path, tensorboard.start, "tensorboard")
    events = accumulator.EventAccumulator(str(tmp_path / tensorboard.FOLDER))
    events.Reload()
    for name in POINTS:
        assert [e.step for e in events.Scalars(name)] == [1, 2, 3]
    assert [e.step for e in events.Scalars("test/accuracy")] == [3]


def test_mlflow_goes_on_with_its_run(tmp_path, monkeypatch):
    tracking = pytest.importorskip("mlflow.tracking")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    train_in_two_goes(tmp_path, mlflow.start, "mlflow")
    client = tracking.MlflowClient((tmp_path / "mlruns").as_uri())
    home = client.get_experiment_by_name("mmtrain").experiment_id
    (run,) = client.search_runs([home])
    assert run.info.run_name == "cmp/joint/seed-0"
    assert run.info.status == "FINISHED"
    assert run.data.params == {"optimizer.lr": "0.1"}
    for name in POINTS:
        assert [m.step for m in client.get_metric_history(run.info.run_id, name)] == [1, 2, 3]


def records(path):
    """Records of a file of wandb: a header, then LevelDB's log format."""
    data, at, parts = path.read_bytes(), 7, []
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:  # The rest of a block is padding.
            at += 32768 - at % 32768
            continue
        _, size, kind = struct.unpack("<IHB", data[at : at + 7])
        parts.append(data[at + 7 : at + 7 + size])
        at += 7 + size
        if kind in (1, 4):  # Whole, or the last part of one.
            yield b"".join(parts)
            parts = []


def test_wandb_offline_goes_on_with_its_run(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    from wandb.proto.wandb_internal_pb2 import Record

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB__SERVICE_WAIT", "600")
    train_in_two_goes(tmp_path, wandb.start, "wandb")
    files = sorted(tmp_path.glob("wandb/offline-run-*/*.wandb"))
    assert len({path.name for path in files}) == 1
    steps = Counter()
    for data in itertools.chain(*map(records, files)):
        record = Record()
        record.ParseFromString(data)
        names = {"/".join(item.nested_key) or item.key for item in record.history.item}
        if "train/loss" in names:
            steps[record.history.step.num] += 1
    assert steps == {1: 1, 2: 1, 3: 1}


def test_a_run_logs_as_it_trains_and_leaves_no_progress_behind(task_shards, tmp_path):
    pytest.importorskip("tensorboard")
    config = tiny(task_shards("classification"), epochs=1, log=("tensorboard",))
    train(config, tmp_path / "run")
    assert len([*(tmp_path / "run" / tensorboard.FOLDER).iterdir()]) == 1
    assert not (tmp_path / "run" / PROGRESS).exists()
    (line,) = (tmp_path / "run" / METRICS).read_text().splitlines()
    used = json.loads(line)["system"]
    assert [*used] == ["cpu", "memory_mb", "gpu_memory_mb", "read_mb_per_s"]
    assert used["cpu"] > 0
    assert used["memory_mb"] > 50
    assert used["read_mb_per_s"] > 0


def test_an_unknown_logger_is_refused():
    with pytest.raises(UnknownName, match="tensorbord"):
        tiny("nowhere", log=("tensorbord",))
