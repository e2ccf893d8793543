"""Studies of made-up runs, in files as training and evaluation write them."""

import json

import numpy as np

from mmtrain.comparison.figures.draw import drawing_of
from mmtrain.comparison.figures.request import figure_requests
from mmtrain.comparison.figures.study_data import RowData, StudyData
from mmtrain.comparison.table import Row, measures_of, row_json
from mmtrain.config.run import TrainConfig
from mmtrain.evaluation.open_run import write_json
from mmtrain.evaluation.sample_scores import SampleScores, write_scores
from mmtrain.training.metrics_log import MetricsFile
from tests.support.reportwork import judged, metrics

MODALITIES = ("audio", "visual")
CLASSES = ("bark", "bell", "horn")
FACTS = {"data root": "4f2a", "version": "mmtrain 0", "seeds": "0, 1", "command": "mmtrain study"}


def made_run(folder, config, epochs, test):
    """A finished run with these accuracies on val by epoch; its rho is one tenth more by epoch."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(config.to_json())
    file = MetricsFile(folder / "metrics.jsonl")
    for epoch, accuracy in enumerate(epochs):
        val = judged(accuracy, config.modalities)
        val |= {f"rho.{m}": 1.5 + i + epoch / 10 for i, m in enumerate(config.modalities)}
        changes = {"val": val, "scoring_seconds": 0.5, "seconds": 9.0 if epoch == 0 else 2.0}
        file.append(metrics(epoch, accuracy, config.modalities, **changes))
    result = {
        "run": str(folder),
        "method": config.method,
        "curriculum": config.curriculum,
        "modalities": list(config.modalities),
        "epochs": len(epochs),
        "best_epoch": len(epochs) - 1,
        "val": judged(epochs[-1], config.modalities),
        "test": judged(test, config.modalities),
        "train_seconds": 2.0 * len(epochs),
    }
    write_json(folder / "result.json", result)
    return result


def made_row(home, label, tests, *, values=None, plain=None, epochs=(0.25, 0.5), **config):
    """A row whose runs have these accuracies on test, one a seed."""
    given = {"data": "nowhere", "modalities": MODALITIES, "epochs": len(epochs), **config}
    config = TrainConfig(**given)
    runs = {seed: home / label / f"seed-{seed}" for seed in range(len(tests))}
    results = {seed: made_run(run, config, epochs, tests[seed]) for seed, run in runs.items()}
    row = Row(label=label, config=config, setting=None, results=results)
    return RowData(
        plain={**row_json(row), **(plain or {})}, config=config, runs=runs, values=values or {}
    )


def made_study(rows, baseline="joint"):
    plain = [row.plain for row in rows]
    table = {
        "title": "Made up",
        "data": "nowhere",
        "baseline": baseline,
        "measures": list(measures_of(plain)),
        "facts": FACTS,
        "rows": plain,
    }
    labels = [row.label for row in rows]
    baselines = dict.fromkeys(labels, baseline) if baseline in labels else {}
    return StudyData(rows=tuple(rows), table=table, baselines=baselines)


def drawn(study, **options):
    """The axes of a figure, and its text."""
    (request,) = figure_requests([options])
    drawing = drawing_of(request, study)
    return drawing.figure.axes, drawing.text


def lines_of(axes):
    """Label of each line with a legend to its points, as lists."""
    handles, labels = axes.get_legend_handles_labels()
    return {
        label: (list(map(float, h.get_xdata())), list(map(float, h.get_ydata())))
        for h, label in zip(handles, labels, strict=True)
    }


def evaluate_row(row, key, amounts, settings, accuracy=0.6):
    """Adds eval-test.json to the runs: each setting with its accuracy, which seeds shift a bit."""
    for seed, run in row.runs.items():
        listed = [
            {amounts: dict(s), "draws": 2, "seed": 0, "accuracy": {"mean": a + seed / 50, "std": 0}}
            for s, a in settings
        ]
        write_json(run / "eval-test.json", {"accuracy": accuracy, "missing": [], key: listed})


def probe_row(row, *points):
    """Adds probes.jsonl: epoch, and the accuracy of audio; that of visual is half of it."""
    for run in row.runs.values():
        lines = [
            {"epoch": epoch, "split": "val", "accuracy": {"audio": a, "visual": a / 2}}
            for epoch, a in points
        ]
        (run / "probes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def score_row(row, fused, audio, visual):
    """Adds samples-test.npz, with the accuracy of each class for fused, audio and visual: of ten
    samples a class, so that tenths come out whole."""
    labels = np.repeat(np.arange(len(CLASSES)), 10)

    def scores(by_class):
        return np.concatenate([np.arange(10) < round(10 * a) for a in by_class]).astype(float)

    made = SampleScores(
        ids=np.arange(len(labels)),
        scores=scores(fused),
        shares={},
        calibration=0.1,
        by_modality={"audio": scores(audio), "visual": scores(visual)},
        classes=CLASSES,
        labels=labels,
    )
    for run in row.runs.values():
        write_scores(run / "samples-test.npz", made, "")
