import io
import json
import logging

import pytest
import torch
from rich.console import Console

from mmtrain.cli.progress import watching
from mmtrain.training.metrics_log import Meter, MetricsFile
from mmtrain.training.system import Gauge

SAID = {"train_loss": 0.5, "samples_per_s": 120.0, "data_wait": 0.25}
JUDGED = {"accuracy": 0.75, "modalities": {"audio": {"accuracy": 0.5}}}


def tell(watch, val=JUDGED):
    watch.step(0, 1, 5, SAID)
    watch.epoch({"epoch": 0, **SAID, "val": val})


def test_a_terminal_has_a_bar_and_a_line_an_epoch():
    console = Console(file=io.StringIO(), force_terminal=True, width=160)
    with watching(console, 3) as watch:
        tell(watch)
    text = console.file.getvalue()
    assert "epoch 1/3 loss 0.5000, 120 samples/s, 25% waiting for data" in text
    assert "val accuracy 0.750 (audio 0.500)" in text


def test_elsewhere_there_are_plain_lines_now_and_then(caplog):
    console = Console(file=io.StringIO())
    with caplog.at_level(logging.INFO), watching(console, 3) as watch:
        tell(watch)
        tell(watch, None)
    assert console.file.getvalue() == ""
    assert [r.message for r in caplog.records] == [
        "epoch 1/3 loss 0.5000, 120 samples/s, 25% waiting for data, "
        "val accuracy 0.750 (audio 0.500)",
        "epoch 1/3 loss 0.5000, 120 samples/s, 25% waiting for data",
    ]


def test_a_meter_by_hand():
    meter = Meter(visits=6, seconds=2.0, waited=0.5)
    meter.add_loss(1.0, 4)
    meter.add_loss(4.0, 2)
    meter.log([("k", 1.0), ("k", 2.0)])
    assert meter.line() == {
        "seconds": 2.0,
        "samples_per_s": 3.0,
        "scoring_seconds": 0.0,
        "data_wait": 0.25,
        "train_loss": 2.0,
        "logged": {"k": 1.5},
        "system": {"cpu": 0.0, "memory_mb": 0.0, "gpu_memory_mb": 0.0, "read_mb_per_s": 0.0},
    }


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_metrics_keep_whole_lines_of_epochs_that_count(tmp_path, kept):
    file = MetricsFile(tmp_path / "metrics.jsonl")
    file.keep(3)
    for epoch in range(2):
        file.append({"epoch": epoch, "seconds": 1.0})
    with (tmp_path / "metrics.jsonl").open("a") as torn:
        torn.write('{"epoch": 2, "tr')
    file.keep(kept)
    assert file.read() == [{"epoch": epoch, "seconds": 1.0} for epoch in range(kept)]
    assert json.dumps(file.read()).count("epoch") == kept


class FakeCuda:
    """A GPU on which tensors took 7 MB at most."""

    def __init__(self):
        self.forgotten = 0

    def forget_peak(self, device):
        self.forgotten += 1

    def peak_bytes(self, device):
        return 7_000_000


def test_a_gauge_adds_what_was_used_since_its_last_look():
    read = iter([10, 1_000_010, 3_000_010])
    cuda, meter = FakeCuda(), Meter(seconds=2.0)
    gauge = Gauge(torch.device("cuda", 0), lambda: next(read), cuda)
    gauge.add_to(meter)
    gauge.add_to(meter)
    assert cuda.forgotten == 1
    assert meter.read == 3_000_000
    used = meter.line()["system"]
    assert used["read_mb_per_s"] == 1.5
    assert used["gpu_memory_mb"] == 7.0
    assert used["memory_mb"] > 50
