"""The card of an export: what the model is, on which data it was trained, and how good it is."""

import json
from collections.abc import Mapping
from typing import Any, Final

from mmprep.format.damage import naming_damage
from mmprep.format.fields import parse_json
from mmprep.printable import printable
from mmprep.version import VERSION
from mmtrain.errors import ConfigError
from mmtrain.methods.catalog import METHODS
from mmtrain.plugins import is_plugin, label
from mmtrain.prediction.clips import preparation_of
from mmtrain.prediction.opening import Trained
from mmtrain.prediction.predictor import Predictor
from mmtrain.tasks.measures import MEASURES, shown
from mmtrain.training.train import RESULT

CARD: Final = "README.md"
# Class names beyond these stand in preparation.json alone.
_CLASSES: Final = 50
_UNKNOWN: Final = "not known"

_USE: Final = """\
```python
import mmtrain

model = mmtrain.load("{folder}")
prediction = model.predict({{{inputs}}})
```

{places} For fine-tuning: `mmtrain train --init {folder}`.
"""


def card_of(trained: Trained, predictor: Predictor, refused: Mapping[str, str]) -> str:
    """Text of the card.

    Args:
        trained: Run that is exported.
        predictor: Its model.
        refused: File of each program that could not be made, to the reason.
    """
    sections = {
        "Model": _model(trained, predictor),
        "Data": _data(trained, predictor),
        "Measures": _measures(trained),
        "Inputs": _inputs(predictor),
        "Use": _use(trained, predictor),
        "Programs": _programs(refused),
    }
    head = f"---\nlibrary_name: mmtrain\ntags: [multimodal, {predictor.task.name}]\n---\n\n"
    title = f"# {label(trained.config.method)} on {trained.facts.title or trained.facts.name}\n\n"
    body = "\n".join(f"## {name}\n\n{text.rstrip()}\n" for name, text in sections.items())
    return printable(f"{head}{title}{body}")


def _model(trained: Trained, predictor: Predictor) -> str:
    config = trained.config
    count = sum(parameter.numel() for parameter in predictor.model.parameters())
    paper = "-" if is_plugin(config.method) else METHODS.entry(config.method).paper
    encoders = ", ".join(f"{m}: {config.encoder_of(m)}" for m in predictor.modalities)
    return _table(
        {
            "method": config.method if paper == "-" else f"{config.method} ({paper})",
            "curriculum": config.curriculum,
            "fusion": config.fusion,
            "encoders": encoders,
            "parameters": f"{count:,}",
            "task": predictor.task.name,
            "epoch": f"{trained.saved['best']['epoch'] + 1} of {config.epochs}",
            "seed": str(config.seed),
            "mmtrain": VERSION,
        }
    )


def _data(trained: Trained, predictor: Predictor) -> str:
    facts, names = trained.facts, predictor.classes
    listed = ", ".join(names[:_CLASSES]) + (", ..." if len(names) > _CLASSES else "")
    rows = {
        "name": facts.name,
        "root": f"`{facts.root}`",
        "licence of the data": facts.licence or _UNKNOWN,
    }
    # Scores have classes too, by which their data set counts its samples.
    classes = {"classes": f"{len(names)}: {listed}"} if predictor.task.gives else {}
    table = _table(rows | classes)
    parameters = json.dumps(dict(facts.parts), indent=1, ensure_ascii=False)
    return (
        f"{table}\nThe terms of the data may bind whoever uses weights that were learnt from them."
        f"\n\nSamples were prepared with:\n\n```json\n{parameters}\n```"
    )


def _measures(trained: Trained) -> str:
    by_split = {"val": trained.saved["best"].get("val"), "test": _tested(trained)}
    rows = {split: values for split, values in by_split.items() if values}
    if not rows:
        return "None: the data had neither val nor test."
    names = shown(name for values in rows.values() for name in values)
    lines = [("split", *(MEASURES[name].title for name in names))]
    for split, values in rows.items():
        lines.append((split, *(_number(name, values.get(name)) for name in names)))
        for modality, own in values["modalities"].items():
            cells = (_number(name, own.get(name)) for name in names)
            lines.append((f"{split}, {modality} by its own logits", *cells))
    return _rows(lines)


def _tested(trained: Trained) -> dict[str, Any] | None:
    """Measures on test, if the run is finished and has them; none in an export of an export."""
    path = trained.folder / RESULT
    if not path.exists():
        return None
    with naming_damage(str(path), "remove it, and --resume measures again"):
        tested: dict[str, Any] | None = parse_json(path.read_bytes())["test"]
    return tested


def _number(name: str, value: Any) -> str:
    if value is None:
        return "-"
    measure = MEASURES[name]
    return f"{measure.scale * value:.{measure.decimals}f}{' %' if measure.percent else ''}"


def _inputs(predictor: Predictor) -> str:
    lines = [("modality", "shape of a batch", "type")]
    for name in predictor.modalities:
        blank = predictor.blank(name, 1)
        shape = ", ".join(["B", *map(str, blank.shape[1:])])
        lines.append((name, f"({shape})", str(blank.dtype).removeprefix("torch.")))
    return _rows(lines)


def _use(trained: Trained, predictor: Predictor) -> str:
    inputs = ", ".join(f'"{name}": {name}' for name in predictor.modalities)
    return _USE.format(folder="DIR", inputs=inputs, places=_places(trained, predictor))


def _places(trained: Trained, predictor: Predictor) -> str:
    """Sentence on what `mmtrain predict` takes: raw clips where they can be prepared, or shards."""
    asked = "question" in predictor.modalities
    texts = {"question": ""} if asked else {}
    try:
        preparation_of(trained.facts, predictor.modalities, texts)
    except ConfigError as error:
        return f"On shards: `mmtrain predict DIR SHARDS`. Not on raw clips: {error}."
    question = " --text question='How many?'" if asked else ""
    return f"On raw clips: `mmtrain predict DIR clip.mp4{question}`."


def _programs(refused: Mapping[str, str]) -> str:
    about = (
        "Inputs: each modality's tensor, then each modality's mask (B,), True for samples that "
        "have it. Outputs: logits, fused and by modality, in float32."
    )
    lines = [f"- `{name}` is not there: {reason}." for name, reason in refused.items()]
    return "\n".join([about, "", *lines]) if lines else about


def _table(values: Mapping[str, str]) -> str:
    return _rows([("", ""), *values.items()])


def _rows(rows: Any) -> str:
    texts = [[str(cell).replace("|", r"\|").replace("\n", " ") for cell in row] for row in rows]
    head, *rest = (f"| {' | '.join(row)} |" for row in texts)
    return "\n".join([head, f"|{'---|' * len(texts[0])}", *rest]) + "\n"
