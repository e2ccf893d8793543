"""Folders of runs, written without training."""

import json
from html.parser import HTMLParser

from mmtrain.config.run import TrainConfig

CLASSES = ("low", 'a "loud" <b>bark</b> & more', "été", "犬")
VOID = {"br", "img", "meta"}


def measures(accuracy):
    return {"accuracy": accuracy, "map": accuracy, "macro_f1": accuracy / 2, "loss": 1 - accuracy}


def judged(accuracy, modalities):
    own = {m: measures(accuracy / (2 + i)) for i, m in enumerate(modalities)}
    return {**measures(accuracy), "modalities": own}


def metrics(epoch, accuracy, modalities, **changes):
    """A line of metrics.jsonl."""
    return {
        "epoch": epoch,
        "lr": 0.1,
        "seconds": 2.0,
        "samples_per_s": 50.0,
        "data_wait": 0.25,
        "train_loss": 2.0 - epoch / 4,
        "logged": {f"k.{m}": 0.5 + i / 4 for i, m in enumerate(modalities)} | {"step": 3.0},
        "val": judged(accuracy, modalities),
        **changes,
    }


def make_run(folder, accuracies=(0.25, 0.5), *, test=0.4, **config):
    """A run whose epochs had these accuracies on val; finished unless ``test`` is None."""
    modalities = config.setdefault("modalities", ("audio", "visual"))
    config = TrainConfig(data=str(config.pop("data", "nowhere")), **config)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(config.to_json())
    lines = [metrics(i, accuracy, modalities) for i, accuracy in enumerate(accuracies)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if test is not None:
        best = max(range(len(accuracies)), key=lambda i: accuracies[i])
        result = {"best_epoch": best, "val": lines[best]["val"], "test": judged(test, modalities)}
        (folder / "result.json").write_text(json.dumps(result))
    return folder


def evaluation(modalities=("audio", "visual"), names=CLASSES):
    """File of `mmtrain eval`: each class has 4 samples, one taken for the next class."""
    count = len(names)
    rows = [[0] * count for _ in names]
    for i in range(count):
        rows[i][i] += 3
        rows[i][(i + 1) % count] += 1
    spread = {"mean": 0.4, "std": 0.05}
    return {
        "samples": 4 * count,
        "classes": list(names),
        **judged(0.75, modalities),
        "by_class": [
            {"name": n, "count": 4, "accuracy": 0.2 + i / 10, "ap": 0.5, "f1": 0.6}
            for i, n in enumerate(names)
        ],
        "confusion": rows,
        "discrepancy": {m: 0.5 + i for i, m in enumerate(modalities)},
        "missing": [
            {"rates": {modalities[0]: 0.5}, "draws": 3, "accuracy": spread},
            {"rates": dict.fromkeys(modalities, 0.2), "draws": 3, "accuracy": spread},
            {"rates": {modalities[0]: 0.1, modalities[1]: 0.3}, "draws": 3, "accuracy": spread},
            {"rates": {modalities[0]: 0.1, modalities[1]: 0.2}, "draws": 3, "accuracy": spread},
        ],
        "noise": [{"levels": {modalities[0]: 0.5}, "draws": 3, "accuracy": spread}],
    }


def probe(modalities=("audio", "visual")):
    """File of `mmtrain probe`; the first modality was also trained alone."""
    said = {"accuracy": 0.5, "map": 0.6, "macro_f1": 0.4, "own_accuracy": 0.3, "alone": None}
    found = {m: dict(said) for m in modalities}
    found[modalities[0]]["alone"] = {"run": "x", "accuracy": 0.9}
    return {"modalities": found}


class Page(HTMLParser):
    """A page taken apart: fails on elements that are not closed as they were opened."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.words, self.addresses = [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [v for k, v in attrs if k in ("src", "href", "srcset", "xlink:href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        assert tag in VOID

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())
