"""Evaluations of all finished runs of a comparison: probes, missing modalities, noise."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mmtrain.comparison.rows import ALONE
from mmtrain.comparison.table import Row
from mmtrain.config.run import TrainConfig
from mmtrain.data import ShardedDataset
from mmtrain.evaluation.many import Measurements, measure_all, modalities_of, runs_in
from mmtrain.evaluation.missing import Missing, parse_rates
from mmtrain.evaluation.noise import Noise, parse_levels
from mmtrain.evaluation.probe import probe
from mmtrain.evaluation.robustness import evaluate_each
from mmtrain.evaluation.settings import modalities_in
from mmtrain.metrics import mean_and_std
from mmtrain.tasks.measures import shown
from mmtrain.tasks.needs import CLASSES, require
from mmtrain.training.checkpoint import BEST
from mmtrain.training.parts import task_of
from mmtrain.training.train import RESULT


@dataclass(frozen=True, kw_only=True)
class Evaluations:
    """Measurements of every run besides its result.

    Attributes:
        probe: Whether linear probes are.
        missing: Missing modalities.
        noise: Noise on modalities.
    """

    probe: bool = False
    missing: Missing = field(default_factory=Missing)
    noise: Noise = field(default_factory=Noise)

    @classmethod
    def of(cls, probe: bool, missing: Sequence[str], noise: Sequence[str]) -> "Evaluations":
        """Evaluations from texts of ``--missing`` and ``--noise``.

        Raises:
            ConfigError: A text of another form.
        """
        return cls(
            probe=probe,
            missing=Missing(rates=parse_rates(missing)),
            noise=Noise(levels=parse_levels(noise)),
        )

    @property
    def request(self) -> dict[str, Any]:
        """The same as plain values, from which `requested` makes it again."""
        return {
            "probe": self.probe,
            "missing": [dict(rates) for rates in self.missing.rates],
            "noise": [dict(levels) for levels in self.noise.levels],
        }

    @classmethod
    def requested(cls, request: Mapping[str, Any]) -> "Evaluations":
        """The evaluations of a `request`."""
        return cls(
            probe=request["probe"],
            missing=Missing(rates=tuple(request["missing"])),
            noise=Noise(levels=tuple(request["noise"])),
        )

    def with_more(self, other: "Evaluations") -> "Evaluations":
        """These and those of ``other``; draws and seeds are those of these."""
        rates = (*self.missing.rates, *other.missing.rates)
        levels = (*self.noise.levels, *other.noise.levels)
        return Evaluations(
            probe=self.probe or other.probe,
            missing=replace(self.missing, rates=rates),
            noise=replace(self.noise, levels=levels),
        )

    def require(self, configs: Sequence[TrainConfig], dataset: ShardedDataset) -> None:
        """Refuses what cannot be measured, before anything is trained.

        Args:
            configs: `fitted` configs of the runs.
            dataset: Shards of the runs.

        Raises:
            ConfigError: Probes of a task without classes, or a level that there is not.
            UnknownName: A modality that no run has.
        """
        for config in configs if self.probe else ():
            task = task_of(config, dataset)
            needs = {CLASSES: "the head that it fits"}
            require("measurement", "--probe", needs, task.name, task.gives)
        modalities = list(dict.fromkeys(m for config in configs for m in config.modalities))
        modalities_in(self.missing.rates, modalities)
        self.noise.require(modalities)


def probe_all(folders: Sequence[Path], alone: Sequence[Path] = (), **options: Any) -> Measurements:
    """Probes runs, see `mmtrain.evaluation.probe.probe`; of several, goes on where one fails.

    Args:
        folders: Folders of runs, or of comparisons and studies.
        alone: Runs of one modality to compare with; without any, those of the comparison.
        options: Other arguments of `probe`.

    Raises:
        ConfigError: A folder holds no run; of a single run, also what `probe` refuses.
    """
    runs = runs_in(folders)
    if runs == list(folders) and len(runs) == 1:
        return Measurements(reports=[probe(runs[0], alone=alone, **options)], single=True)
    return probe_each(runs, alone, **options)


def probe_each(runs: Sequence[Path], alone: Sequence[Path] = (), **options: Any) -> Measurements:
    """Probes several runs; for the arguments see `probe_all`."""

    def measure(run: Path) -> dict[str, Any]:
        partners = [p for p in alone if _completes(p, run)] if alone else unimodal_models(run)
        return probe(run, alone=partners, **options)

    # Unimodal models first, whose probes the others are compared with.
    return measure_all(sorted(runs, key=lambda run: len(modalities_of([run])) > 1), measure)


def unimodal_models(run: Path) -> list[Path]:
    """Finished runs of a comparison on each modality of ``run`` alone, with the same seed."""
    home = run.resolve().parents[1]
    partners = (home / f"{m}{ALONE}" / run.resolve().name for m in modalities_of([run]))
    finished = (p for p in partners if (p / RESULT).exists() and (p / BEST).exists())
    return [partner for partner in finished if _completes(partner, run)]


def measure_rows(
    rows: Sequence[Row], folder: Path, asked: Evaluations, data: str
) -> tuple[dict[str, dict[str, Any]], list[dict[str, str]]]:
    """Measures all runs of a table, as far as they were not measured before.

    Args:
        rows: Rows of the table.
        folder: Folder of the comparison.
        asked: Measurements to make.
        data: Place of the shards.

    Returns:
        Label of each row to what its table shows, over seeds: ``probes``, modality to accuracy and
        gap; ``missing`` and ``noise``, an object for each setting. And ``run`` and ``error`` of
        what failed.
    """
    runs: dict[str, dict[str, list[Path]]] = {}
    for row in rows:
        results = list(row.results.values())
        split = next((s for s in ("test", "val") if results and all(r[s] for r in results)), None)
        if split is not None:
            paths = [folder / row.label / f"seed-{seed}" for seed in row.results]
            runs.setdefault(split, {})[row.label] = paths
    shown_by_label: dict[str, dict[str, Any]] = {}
    failed: list[dict[str, str]] = []
    for split, by_label in runs.items():
        paths = [path for each in by_label.values() for path in each]
        options: dict[str, Any] = {"split": split, "data": data, "reuse": True}
        probes = Measurements()
        if asked.probe:
            probes = probe_each(paths, **options)
        curves = Measurements()
        if asked.missing.rates or asked.noise.levels:
            curves = evaluate_each(paths, asked.missing, asked.noise, **options)
        failed += [*probes.failed, *curves.failed]
        for label, own in by_label.items():
            names = {str(path) for path in own}
            shown_by_label[label] = {
                **_probes([r for r in probes.reports if r["run"] in names]),
                **_curves([r for r in curves.reports if r["run"] in names], asked),
            }
    return shown_by_label, failed


def _completes(partner: Path, run: Path) -> bool:
    """Whether ``partner`` is a unimodal model of one of several modalities of ``run``."""
    own, theirs = modalities_of([run]), modalities_of([partner])
    return len(own) > 1 and len(theirs) == 1 and theirs[0] in own


def _probes(reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """``probes`` of a row; nothing where no run was probed."""
    if not reports:
        return {}
    by_modality = {}
    for modality in reports[0]["modalities"]:
        each = [report["modalities"][modality] for report in reports]
        gaps = [values["alone"]["gap"] for values in each if values["alone"]]
        by_modality[modality] = {
            "accuracy": mean_and_std([values["accuracy"] for values in each]),
            "gap": mean_and_std(gaps) if len(gaps) == len(each) else None,
        }
    return {"probes": by_modality}


def _curves(reports: Sequence[Mapping[str, Any]], asked: Evaluations) -> dict[str, Any]:
    """``missing`` and ``noise`` of a row: each setting that was asked for, over seeds."""
    kinds = (
        ("missing", "rates", asked.missing, asked.missing.rates),
        ("noise", "levels", asked.noise, asked.noise.levels),
    )
    curves: dict[str, Any] = {}
    for kind, name, draws, settings in kinds:
        lines = []
        for setting in settings:
            same = {name: dict(setting), "draws": draws.draws, "seed": draws.seed}
            each = [s for r in reports for s in r[kind] if same.items() <= s.items()]
            measures = shown(name for values in each for name in values)
            if each:
                means = {m: mean_and_std([v[m]["mean"] for v in each]) for m in measures}
                lines.append({**same, **means})
        if lines:
            curves[kind] = lines
    return curves
