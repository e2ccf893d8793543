"""Lines of measures that `mmtrain train` prints."""

import json

from mmtrain.cli.measured import main_measure
from mmtrain.cli.train import summary


def test_a_result_names_the_measures_of_its_task():
    own = {"audio": {"mae": 0.9, "corr": None, "loss": 0.9}}
    test = {"mae": 0.54, "corr": 0.9877, "acc7": 0.8, "loss": 0.54, "modalities": own}
    result = {"run": "r", "epochs": 2, "train_seconds": 1.0, "best_epoch": 1, "val": None}

    text = summary({**result, "test": test})

    assert text.endswith("test, best epoch 2: MAE 0.540 (audio 0.900), Corr 0.988, Acc-7 0.800")


def test_an_undefined_measure_is_a_dash(task_run):
    test = json.loads((task_run("answers") / "result.json").read_text())["test"]
    own = f"audio {test['modalities']['audio']['accuracy']:.3f}"
    assert main_measure(test).startswith(f"accuracy {test['accuracy']:.3f} ({own}, flow ")

    measured = {"corr": None, "modalities": {"audio": {"corr": 0.5}}}
    assert main_measure(measured) == "Corr - (audio 0.500)"
