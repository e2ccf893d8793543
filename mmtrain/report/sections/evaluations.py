"""What `mmtrain eval` and `mmtrain probe` have found: classes, confusions, missing modalities."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from mmtrain.report.charts.dots import dots
from mmtrain.report.charts.heat import heat
from mmtrain.report.charts.lines import grid, legend, style
from mmtrain.report.markup import Markup, el, folded, join, note, section, table
from mmtrain.report.runs.groups import Group, Spread
from mmtrain.report.runs.read import RunRecord
from mmtrain.report.runs.records import Evaluation
from mmtrain.report.sections.missing import missing

_WRITTEN: Final = 12
_PAIRS: Final = 8

Found = Sequence[tuple[Group, Sequence[Evaluation]]]


def evaluations(groups: Sequence[Group]) -> Markup:
    """Classes, confusion, discrepancy and missing modalities, split by split."""
    runs = [run for group in groups for run in group.runs]
    parts = []
    for split in _splits(runs, "evaluations"):
        found = [
            (group, [run.evaluations[split] for run in group.runs if split in run.evaluations])
            for group in groups
        ]
        parts.append(_split(split, [(group, each) for group, each in found if each]))
    lacking = [run for run in runs if not run.evaluations]
    return section(
        "classes",
        "Classes, confusions, missing modalities",
        *parts,
        _command("eval", runs, lacking),
    )


def probes(groups: Sequence[Group]) -> Markup:
    """How good training has left each encoder."""
    runs = [run for group in groups for run in group.runs]
    parts = []
    for split in _splits(runs, "probes"):
        rows = []
        for group in groups:
            found = [run.probes[split] for run in group.runs if split in run.probes]
            for modality in dict.fromkeys(m for probe in found for m in probe):
                each = [probe[modality] for probe in found if modality in probe]
                values = (
                    Spread.of(probe.accuracy for probe in each),
                    Spread.of(probe.map for probe in each),
                    Spread.of(probe.macro_f1 for probe in each),
                    Spread.of(probe.own_accuracy for probe in each),
                    Spread.of(probe.alone for probe in each),
                    Spread.of(probe.accuracy - probe.alone for probe in each),
                )
                rows.append((group.label, modality, *(value.told(scale=100) for value in values)))
        head = ("", "modality", "accuracy", "mAP", "macro-F1", "own head", "alone", "against alone")
        parts.append(join(el("h3", f"{split} split (%)"), table(head, rows, words=2)))
    said = (
        "Each encoder is frozen and a fresh linear head fitted: accuracy, mAP and macro-F1 of that "
        "head. Own head: what the run itself predicts from the modality. Alone: the same probe of "
        "an encoder that was trained without the others; a negative number behind it is what joint "
        "training has cost the encoder, in points."
    )
    lacking = [run for run in runs if not run.probes]
    return section(
        "probes",
        "How good the encoders are",
        note(said) if parts else None,
        *parts,
        _command("probe", runs, lacking),
    )


def _splits(runs: Sequence[RunRecord], what: str) -> list[str]:
    """Splits that some run has a file of; test first."""
    found = {split for run in runs for split in getattr(run, what)}
    return sorted(found, key=lambda split: (split != "test", split))


def _command(name: str, runs: Sequence[RunRecord], lacking: Sequence[RunRecord]) -> Markup | None:
    """What one may run to see more; None where every run has it."""
    if not lacking:
        return None
    finds, option, more = {
        "eval": (
            "accuracy by class and what is taken for what",
            f"--missing {runs[0].config.modalities[0]}=0.3",
            "what is left where that share of the samples lacks the modality",
        ),
        "probe": (
            "how well a fresh linear head reads each frozen encoder",
            "--alone RUN",
            "the same of an encoder that was trained without the others",
        ),
    }[name]
    whom = "any run" if len(lacking) == len(runs) else f"{len(lacking)} of the {len(runs)} runs"
    commands = "\n".join(f"mmtrain {name} {shlex.quote(str(run.folder))}" for run in lacking)
    said = (f" was not run on {whom}. It finds {finds}; with ", el("code", option), f", {more}.")
    return join(
        note(el("code", f"mmtrain {name}"), *said),
        folded("The commands", el("pre", el("code", commands))),
    )


def _split(split: str, found: Found) -> Markup:
    samples, alike = found[0][1][0].samples, _same_classes(found)
    parts = [
        el("h3", f"{split} split, {samples:,} samples"),
        _by_class(found)
        if alike
        else note("The runs have different classes, so their bars are not drawn side by side."),
        note("Confusion: shares of each true class, of the first seed."),
        grid(*(_confusion(group, each[0]) for group, each in found)),
        _pairs(found) if alike else None,
        missing(found),
        _discrepancy(found),
    ]
    return join(*parts)


def _same_classes(found: Found) -> bool:
    names = {tuple(line.name for line in each.by_class) for _, all_ in found for each in all_}
    return len(names) == 1


def _by_class(found: Found) -> Markup:
    """Accuracy of every class, and a table of all that is known of it."""
    lines_of = found[0][1][0].by_class
    names = [line.name for line in lines_of]

    def mean(each: Sequence[Evaluation], i: int, measure: str) -> Spread:
        return Spread.of(getattr(one.by_class[i], measure) for one in each)

    accuracy = {
        group.style: [mean(each, i, "accuracy").mean for i in range(len(names))]
        for group, each in found
    }
    head = ["class", "samples"]
    for group, _ in found:
        own = f"{group.label}: " if len(found) > 1 else ""
        head += [f"{own}{measure}" for measure in ("accuracy", "AP", "F1")]
    rows = [
        [name, f"{lines_of[i].samples:,}"]
        + [
            mean(each, i, measure).told(1, 100)
            for _, each in found
            for measure in ("accuracy", "ap", "f1")
        ]
        for i, name in enumerate(names)
    ]
    return join(
        legend([(group.label, group.style) for group, _ in found]),
        dots("accuracy by class (%), worst first", names, accuracy),
        folded(f"All {len(names)} classes in numbers", table(head, rows)),
    )


def _confusion(group: Group, found: Evaluation) -> Markup:
    """Of one run: counts of several seeds would not be counts of one split."""
    counts = found.confusion
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    names = [line.name for line in found.by_class]

    def written(i: int, j: int) -> str:
        return f"{100 * shares[i, j]:.0f}" if counts[i, j] else ""

    small = len(names) <= _WRITTEN
    below = [name if len(name) <= 5 else str(i + 1) for i, name in enumerate(names)]
    # The eye tells small shares apart better than large ones.
    return heat(
        group.label,
        shares**0.7,
        (names, below),
        ("true", "predicted"),
        written if small else None,
        square=True,
    )


def _pairs(found: Found) -> Markup | None:
    """What is taken for what most often."""
    rows = []
    for group, each in found:
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
    return folded(
        "What is taken for what most often, all seeds together", table(head, rows, words=3)
    )


def _discrepancy(found: Found) -> Markup | None:
    def told(each: Sequence[Evaluation], modality: str) -> str:
        return Spread.of(one.discrepancy.get(modality) for one in each).told()

    known: Mapping[str, None] = dict.fromkeys(
        m for _, each in found for one in each for m in one.discrepancy
    )
    if not known:
        return None
    rows = [(_keyed(group), *(told(each, modality) for modality in known)) for group, each in found]
    said = (
        "Discrepancy: confidence of a modality in the true class over that of the others; above 1 "
        "it is ahead."
    )
    return join(note(said), table(("", *known), rows))


def _keyed(group: Group) -> Markup:
    return el("span", el("i", class_=f"key {style(group.style)}"), group.label)
