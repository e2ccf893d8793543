"""Quality of the encoders by epoch, as RUN/probes.jsonl has it of linear probes while training."""

from mmtrain.comparison.figures.drawing import Drawing
from mmtrain.comparison.figures.lines import AxisNames, Panel, chosen_lines, draw_panels
from mmtrain.comparison.figures.request import FigureRequest
from mmtrain.comparison.figures.study_data import Curve, NothingToDraw, StudyData
from mmtrain.training.probes import PROBES, read_probes


def draw(study: StudyData, request: FigureRequest) -> Drawing:
    """Draws a panel for each modality, a line a row."""
    points: dict[str, dict[str, dict[float, list[float]]]] = {}
    split = "val"
    for row in study.with_runs(request):
        for line in (line for run in row.runs.values() for line in read_probes(run / PROBES)):
            split = line["split"]
            for modality, accuracy in line["accuracy"].items():
                of_row = points.setdefault(modality, {}).setdefault(row.label, {})
                of_row.setdefault(float(line["epoch"]), []).append(100 * float(accuracy))
    if not points:
        raise NothingToDraw(
            f"no run has {PROBES}; train with probe_every = 5 in [set], or --set probe_every=5, in "
            "another --out"
        )
    rows, left = chosen_lines(study, request, {r for by_row in points.values() for r in by_row})
    panels = [
        Panel(modality, {label: Curve.of(by_epoch) for label, by_epoch in by_row.items()})
        for modality, by_row in points.items()
    ]
    names = AxisNames(y=f"probe on {split} (%)")
    width = str(request.options.get("width", "column"))
    return Drawing(
        draw_panels(panels, rows, study, width, names),
        f"Accuracy on {split} of a linear probe that is fitted to the frozen encoder on train, by "
        f"epoch. Lines: mean over seeds; bands, where there are few lines: its standard "
        f"deviation.{left}",
    )
