"""Comparison of methods: trains the runs that are missing, then writes one table of all runs.

DIR/LABEL/seed-N is one run each, DIR/LABEL/tune/SETTING those by which settings are chosen. A
finished run is kept and an unfinished one goes on, so the same command may be killed and repeated,
and a command with other methods or seeds adds to the table of the first.
"""

from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any, Final

from mmtrain import files
from mmtrain.comparison.against import findings
from mmtrain.comparison.charge import taking_charge
from mmtrain.comparison.engines import Engine, engine_named
from mmtrain.comparison.entrants import Contest, Entrant
from mmtrain.comparison.layouts import as_csv, as_latex
from mmtrain.comparison.rows import differing, earlier_rows, finished_runs, with_earlier_seeds
from mmtrain.comparison.runs import Carrier, Trainer, Watching, plan_runs, row_of
from mmtrain.comparison.table import markdown, row_json
from mmtrain.config.overrides import with_defaults
from mmtrain.errors import ConfigError, UnknownName
from mmtrain.evaluation.open_run import write_json
from mmtrain.report import write
from mmtrain.training.parts import CONFIG, config_of, shards_of

STUDY: Final = "study.toml"
# Files of the table beside table.json.
_LAYOUTS: Final = {"table.md": markdown, "table.csv": as_csv, "table.tex": as_latex}


def compare(
    contest: Contest,
    folder: Path,
    watching: Watching = lambda epochs: nullcontext(),
    jobs: int | None = None,
    engine: Engine | None = None,
) -> dict[str, Any]:
    """Trains the missing runs, and writes DIR/table.{json,md,csv,tex} and DIR/report.html.

    Args:
        contest: Entrants, and their common settings.
        folder: Folder of the comparison.
        watching: Makes the object that shows the progress of a run of so many epochs.
        jobs: Number of runs at once; None is one after the other in this process, or without a
            limit of ours where there is an ``engine``.
        engine: Engine that carries the runs out; by default processes of this machine, if several
            at once are asked for.

    Returns:
        The content of table.json: ``rows`` of all finished runs in ``folder``, the labels of those
        that are there from an ``earlier`` command, and ``failed``, the runs that are in no row.

    Raises:
        ConfigError: The request does not fit the data, a folder of DIR holds another run, or
            another command is at work on DIR.
        UnknownName: No row has the name of the baseline.
        Interrupted: A signal asked to stop.
    """
    with ExitStack() as stack:
        return _compare(contest, folder, watching, jobs, engine, stack)


def _compare(
    contest: Contest,
    folder: Path,
    watching: Watching,
    jobs: int | None,
    engine: Engine | None,
    stack: ExitStack,
) -> dict[str, Any]:
    """Does the work of `compare`, and leaves ``folder`` in charge of ``stack``."""
    entrants = entrants_of(contest, folder)
    charge = stack.enter_context(taking_charge(folder))
    if contest.study:
        _write(folder / STUDY, contest.study)
    paths = [run.folder for each in entrants for run in plan_runs(each, contest.seeds, folder)]
    trainer = Trainer(paths, watching)
    if engine is None and (jobs or 1) > 1:
        engine = engine_named("local")
    if engine is not None:
        carrier = Carrier(engine=engine, charge=charge, at_once=jobs)
        carrier.train_all(entrants, contest.seeds, folder, trainer)
    asked = [row_of(entrant, contest.seeds, folder, trainer) for entrant in entrants]
    rows = [with_earlier_seeds(row, folder / row.label) for row in asked]
    earlier = earlier_rows(folder, [row.label for row in rows])
    rows += earlier
    described = [row_json(row) for row in rows]
    splits = {row["split"] for row in described} - {None}
    found = {}
    if len(splits) == 1 and len(rows) > 1:
        baselines = {row.label: contest.baseline for row in rows} | dict(contest.baselines)
        found = findings(rows, folder, splits.pop(), baselines, contest.base.data)
    table = {
        "data": contest.base.data,
        "baseline": contest.baseline,
        "seeds": list(dict.fromkeys((*contest.seeds, *(seed for r in rows for seed in r.results)))),
        "rows": [{**row, **found.get(row["label"], {})} for row in described],
        "earlier": [row.label for row in earlier],
        "failed": trainer.failed,
    }
    write_json(folder / "table.json", table)
    for name, layout in _LAYOUTS.items():
        _write(folder / name, layout(table))
    runs = [folder / row.label / f"seed-{seed}" for row in rows for seed in row.results]
    if runs:
        write(runs, folder / "report.html")
    return table


def entrants_of(contest: Contest, folder: Path) -> list[Entrant]:
    """Entrants of a comparison in ``folder``, in the order of the table.

    Raises:
        ConfigError: The request does not fit the data, or a folder of DIR holds another run.
        UnknownName: No row has the name of the baseline.
    """
    with shards_of(contest.base) as dataset:
        entrants = contest.entrants(dataset)
    labels = [entrant.label for entrant in entrants]
    known = (*labels, Contest.baseline, *_folders(folder))
    if contest.baseline not in known and not contest.baselines:
        raise UnknownName("row of this comparison", contest.baseline, labels)
    for entrant in entrants:
        _refuse_other_runs(entrant, contest.seeds, folder)
    return entrants


def _folders(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []


def _write(path: Path, text: str) -> None:
    files.replace(path, lambda file: file.write(text.encode()))


def _refuse_other_runs(entrant: Entrant, seeds: Sequence[int], folder: Path) -> None:
    """Refuses an entrant whose folder holds runs that would not belong in one row with its own.

    Raises:
        ConfigError: There is such a run; names it and what differs.
    """
    for run in plan_runs(entrant, seeds, folder):
        if not run.tuned and (run.folder / CONFIG).exists():
            _refuse(run.folder, with_defaults(config_of(run.folder)).differences(run.config))
    if not entrant.grid:
        for path in finished_runs(folder / entrant.label).values():
            _refuse(path, differing(path, entrant.config))


def _refuse(folder: Path, differences: Sequence[str]) -> None:
    if differences:
        raise ConfigError(
            f"{folder} holds another run: {'; '.join(differences)}. Compare as before, or choose "
            "another --out"
        )
