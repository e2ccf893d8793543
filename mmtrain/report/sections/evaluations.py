"""Results of `mmtrain eval` and `mmtrain probe`: classes, confusions, quality of the encoders."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from mmprep.html.charts import grid, key, legend
from mmprep.html.markup import Child, Markup, el, folded, join, note, section, table
from mmtrain.report.charts.dots import dots
from mmtrain.report.charts.heat import heat
from mmtrain.report.runs.groups import Group, Spread
from mmtrain.report.runs.read import RunRecord
from mmtrain.report.runs.records import Evaluation
from mmtrain.report.sections.probe_curves import probes_by_epoch
from mmtrain.report.sections.robustness import Evaluated, robustness
from mmtrain.report.sections.task_results import question_types, scores, segments

# Larger confusion matrices have no room for a number in each cell.
_WRITTEN: Final = 12
_PAIRS: Final = 8


def evaluations(groups: Sequence[Group]) -> Markup:
    """Shows classes, confusions, discrepancy and missing modalities, split by split."""
    runs = [run for group in groups for run in group.runs]
    parts = []
    for split in _splits(runs, "evaluations"):
        of_split = [
            (group, [run.evaluations[split] for run in group.runs if split in run.evaluations])
            for group in groups
        ]
        parts.append(_split(split, [(group, each) for group, each in of_split if each]))
    lacking = [run for run in runs if not run.evaluations]
    return section(
        "Classes, confusions, missing and noisy modalities",
        *parts,
        _command("eval", runs, lacking),
        anchor="classes",
    )


def probes(groups: Sequence[Group]) -> Markup:
    """Shows how good each encoder is, as a linear probe measures it."""
    runs = [run for group in groups for run in group.runs]
    parts = []
    head = (
        *("", "modality", "probe: accuracy", "mAP", "macro-F1", "own logits"),
        *("unimodal model", "gap"),
    )
    for split in _splits(runs, "probes"):
        rows = [row for group in groups for row in _probe_rows(group, split)]
        numbers = table(head, rows, numbers=range(2, len(head)))
        parts.append(join(el("h3", f"{split} split (%)"), numbers))
    text = (
        "Probe: the encoder is frozen and a new linear head is fitted to it; accuracy, mAP and "
        "macro-F1 are that head's. Own logits: accuracy of the run's own prediction from the "
        "modality. Unimodal model: accuracy of the same probe on an encoder that was trained on "
        "this modality only. Gap: unimodal model minus probe, in points; a positive gap is what "
        "joint training has cost the encoder."
    )
    lacking = [run for run in runs if not run.probes]
    return section(
        "How good the encoders are",
        note(text) if parts else None,
        *parts,
        probes_by_epoch(groups),
        _command("probe", runs, lacking),
        anchor="probes",
    )


def _probe_rows(group: Group, split: str) -> list[Sequence[Child]]:
    of_runs = [run.probes[split] for run in group.runs if split in run.probes]
    rows: list[Sequence[Child]] = []
    for modality in dict.fromkeys(m for probe in of_runs for m in probe):
        each = [probe[modality] for probe in of_runs if modality in probe]
        values = (
            Spread.of(probe.accuracy for probe in each),
            Spread.of(probe.map for probe in each),
            Spread.of(probe.macro_f1 for probe in each),
            Spread.of(probe.own_accuracy for probe in each),
            Spread.of(probe.unimodal for probe in each),
            Spread.of(probe.gap for probe in each),
        )
        rows.append((group.label, modality, *(value.text(scale=100) for value in values)))
    return rows


def _splits(runs: Sequence[RunRecord], attribute: str) -> list[str]:
    """Splits for which some run has a file; test first."""
    splits = {split for run in runs for split in getattr(run, attribute)}
    return sorted(splits, key=lambda split: (split != "test", split))


def _command(name: str, runs: Sequence[RunRecord], lacking: Sequence[RunRecord]) -> Markup | None:
    """Explains which command would show more; None where it was run on every run."""
    if not lacking:
        return None
    measures, option, more = {
        "eval": (
            "accuracy by class, and which classes are confused",
            f"--missing {runs[0].config.modalities[0]}=0.3",
            "the accuracy where that share of the samples lacks the modality",
        ),
        "probe": (
            "how well a new linear head can read each frozen encoder",
            "--alone RUN",
            "the same of a unimodal model",
        ),
    }[name]
    which = "any run" if len(lacking) == len(runs) else f"{len(lacking)} of the {len(runs)} runs"
    commands = "\n".join(f"mmtrain {name} {shlex.quote(str(run.folder))}" for run in lacking)
    text = (f" was not run on {which}. It measures {measures}; with ", el("code", option))
    return join(
        note(el("code", f"mmtrain {name}"), *text, f", also {more}."),
        folded("The commands", el("pre", el("code", commands))),
    )


def _split(split: str, evaluated: Evaluated) -> Markup:
    of_classes = [(group, each) for group, each in evaluated if each[0].by_class]
    return join(
        el("h3", f"{split} split, {evaluated[0][1][0].samples:,} samples"),
        scores(evaluated),
        segments(evaluated),
        question_types(evaluated),
        _classes(of_classes) if of_classes else None,
        robustness(evaluated),
        _discrepancy(evaluated),
    )


def _classes(evaluated: Evaluated) -> Markup:
    """Draws accuracy by class and confusions, of runs whose task has classes."""
    alike = _same_classes(evaluated)
    parts = [
        _by_class(evaluated)
        if alike
        else note("The runs have different classes, so their bars are not drawn side by side."),
        note(
            "Confusion: share of each true class that is predicted as each class, for the first "
            "seed. Where there is no room, only every second or third name is written."
        ),
        grid(*(_confusion(group, each[0]) for group, each in evaluated)),
        _confused_pairs(evaluated) if alike else None,
    ]
    return join(*parts)


def _same_classes(evaluated: Evaluated) -> bool:
    names = {tuple(line.name for line in one.by_class) for _, each in evaluated for one in each}
    return len(names) == 1


def _by_class(evaluated: Evaluated) -> Markup:
    """Draws the accuracy of every class, and lists all measures in a table."""
    classes = evaluated[0][1][0].by_class
    names = [line.name for line in classes]

    def mean(each: Sequence[Evaluation], i: int, measure: str) -> Spread:
        return Spread.of(getattr(one.by_class[i], measure) for one in each)

    accuracy = {
        group.style: [mean(each, i, "accuracy").mean for i in range(len(names))]
        for group, each in evaluated
    }
    head = ["class", "samples"]
    for group, _ in evaluated:
        owner = f"{group.label}: " if len(evaluated) > 1 else ""
        head += [f"{owner}{measure}" for measure in ("accuracy", "AP", "F1")]
    rows = [
        [name, f"{classes[i].samples:,}"]
        + [
            mean(each, i, measure).text(1, 100)
            for _, each in evaluated
            for measure in ("accuracy", "ap", "f1")
        ]
        for i, name in enumerate(names)
    ]
    return join(
        legend([(group.label, group.style) for group, _ in evaluated]),
        dots("accuracy by class (%), worst first", names, accuracy),
        folded(f"All {len(names)} classes in numbers", table(head, rows)),
    )


def _confusion(group: Group, evaluation: Evaluation) -> Markup:
    """Draws the confusion matrix of one run: counts of several would not be those of a split."""
    counts = evaluation.confusion
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    names = [line.name for line in evaluation.by_class]

    def text_of(i: int, j: int) -> str:
        return f"{100 * shares[i, j]:.0f}" if counts[i, j] else ""

    small = len(names) <= _WRITTEN
    below = [name if len(name) <= 5 else str(i + 1) for i, name in enumerate(names)]
    # The root makes small shares, which are the mistakes, easier to see.
    return heat(
        group.label,
        shares**0.7,
        (names, below),
        ("true", "predicted"),
        text_of if small else None,
        square=True,
    )


def _confused_pairs(evaluated: Evaluated) -> Markup | None:
    """Lists the most frequent mistakes, with the true and the predicted class."""
    rows = []
    for group, each in evaluated:
        names = [line.name for line in each[0].by_class]
        counts = sum((one.confusion for one in each), start=np.zeros_like(each[0].confusion))
        wrong = counts * (1 - np.eye(len(names), dtype=counts.dtype))
        order = np.argsort(-wrong, axis=None, kind="stable")[:_PAIRS]
        for i, j in zip(*np.unravel_index(order, wrong.shape), strict=True):
            if wrong[i, j]:
                share = wrong[i, j] / counts[i].sum()
                rows.append((group.label, names[i], names[j], f"{wrong[i, j]}", f"{share:.1%}"))
    if not rows:
        return None
    head = ("", "true", "predicted", "samples", "of the class")
    mistakes = table(head, rows, numbers=(3, 4))
    return folded("The most frequent confusions, all seeds together", mistakes)


def _discrepancy(evaluated: Evaluated) -> Markup | None:
    def text(each: Sequence[Evaluation], modality: str) -> str:
        return Spread.of(one.discrepancy.get(modality) for one in each).text()

    known: Mapping[str, None] = dict.fromkeys(
        m for _, each in evaluated for one in each for m in one.discrepancy
    )
    if not known:
        return None
    rows = [
        (_with_key(group), *(text(each, modality) for modality in known))
        for group, each in evaluated
    ]
    meaning = (
        "Discrepancy ratio (rho): confidence of a modality's own logits in the true class, divided "
        "by that of the others; above 1 the modality is ahead."
    )
    return join(note(meaning), table(("", *known), rows))


def _with_key(group: Group) -> Markup:
    return el("span", key(group.style), group.label)
