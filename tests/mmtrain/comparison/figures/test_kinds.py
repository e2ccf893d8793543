"""The numbers that each kind of figure draws, from runs that were made up."""

import numpy as np
import pytest

from mmtrain.comparison.figures.robustness import axes_of
from mmtrain.comparison.figures.study_data import NothingToDraw, RowData
from tests.support.studywork import (
    CLASSES,
    drawn,
    evaluate_row,
    lines_of,
    made_row,
    made_study,
    probe_row,
    score_row,
)


def verdict(word):
    return {"against": {"baseline": "joint", "verdict": word}}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A baseline, a row that is better, and the controls."""
    home = tmp_path_factory.mktemp("study")
    chance = {"label": "uniform chance", "control": "chance", "split": "test", "modalities": {}}
    chance |= {"accuracy": {"mean": 0.1, "std": 0.0}, "seeds": [], "runs": []}
    alone = {"control": "alone", **verdict("worse")}
    return made_study(
        [
            RowData(plain=chance),
            made_row(home, "audio-alone", (0.3, 0.3), plain=alone, modalities=("audio",)),
            made_row(home, "joint", (0.4, 0.5)),
            made_row(home, "ogm", (0.6, 0.64), plain=verdict("better"), method="ogm"),
        ]
    )


def test_accuracy_has_a_mark_a_row_and_a_line_a_control(study):
    (axes,), text = drawn(study, kind="accuracy")
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["joint", "ogm"]
    marks = [line for line in axes.lines if line.get_marker() in ("D", ">", "o", "<")]
    assert [(m.get_marker(), *m.get_xdata(), *m.get_ydata()) for m in marks] == [
        ("D", pytest.approx(45), 0),
        (">", pytest.approx(62), 1),
    ]
    seeds = [line.get_xdata() for line in axes.lines if line.get_marker() == "|"]
    np.testing.assert_allclose(seeds, [[40, 50], [60, 64]])
    # Of two values, Student's t reaches 12.706 standard errors, which are half their distance.
    intervals = [line.get_xdata() for line in axes.lines if len(line.get_xdata()) == 2]
    np.testing.assert_allclose(intervals[0], [45 - 63.53, 45 + 63.53], atol=0.01)
    keys = [text.get_text() for text in axes.figure.legends[0].get_texts()]
    assert keys == ["baseline", "better", "uniform chance 10.0", "audio-alone 30.0"]
    drawn_controls = [x for line in axes.lines for x in set(line.get_xdata())]
    assert 30.0 in drawn_controls
    assert "Holm" in text


def test_bars_begin_at_zero(study):
    (axes,), _ = drawn(study, kind="accuracy", style="bars", measure="map")
    np.testing.assert_allclose([bar.get_width() for bar in axes.patches], [45, 62])
    assert axes.get_xlim()[0] == 0
    assert axes.get_xlabel() == "mAP (%)"


def test_curves_are_means_over_seeds(study):
    (axes,), text = drawn(study, kind="curves", quantity="accuracy")
    assert lines_of(axes)["joint"] == ([1, 2], [25, 50])
    assert text.startswith("Accuracy (%) on val by epoch")
    (axes,), _ = drawn(study, kind="curves", quantity="train_loss", rows=["ogm"])
    assert lines_of(axes) == {"ogm": ([1, 2], [2.0, 1.75])}
    # Own logits of the modalities have half and a third of the accuracy, see `judged`.
    (axes,), _ = drawn(study, kind="curves", quantity="accuracy.visual")
    np.testing.assert_allclose(lines_of(axes)["ogm"][1], [25 / 3, 50 / 3])


def test_what_is_logged_by_modality_has_a_panel_each(study):
    panels, _ = drawn(study, kind="curves", quantity="k")
    assert [axes.get_title() for axes in panels] == ["audio", "visual"]
    assert lines_of(panels[1])["ogm"] == ([1, 2], [0.75, 0.75])
    assert set(lines_of(panels[1])) == {"joint", "ogm"}
    with pytest.raises(
        NothingToDraw, match=r"no run has logged kk; .* train_loss, lr, accuracy, k"
    ):
        drawn(study, kind="curves", quantity="kk")


def test_discrepancy_is_of_rows_with_several_modalities(study):
    (axes,), _ = drawn(study, kind="discrepancy")
    assert axes.get_yscale() == "log"
    assert axes.get_ylabel() == "rho of audio on val"
    assert lines_of(axes) == {name: ([1, 2], [1.5, 1.6]) for name in ("joint", "ogm")}
    (axes,), _ = drawn(study, kind="discrepancy", of="gap")
    # A half less a third of 25 and of 50.
    np.testing.assert_allclose(lines_of(axes)["joint"][1], [25 / 6, 50 / 6])


def test_modalities_have_a_mark_each(study):
    (axes,), _ = drawn(study, kind="modalities")
    marks = {m: [] for m in "os^"}
    for line in axes.lines:
        if line.get_marker() in marks and len(line.get_xdata()):
            marks[line.get_marker()].append(float(line.get_xdata()[0]))
    # What stands alone has nothing to fuse.
    np.testing.assert_allclose(marks["o"], [45, 62])
    np.testing.assert_allclose(marks["s"], [15, 22.5, 31])
    np.testing.assert_allclose(marks["^"], [15, 62 / 3])


def test_time_is_without_the_first_epoch(study):
    (axes,), text = drawn(study, kind="time")
    np.testing.assert_allclose([bar.get_width() for bar in axes.patches], [2.5, 2.5, 2.5])
    assert [t.get_text() for t in axes.texts] == ["1.00x", "1.00x"]
    assert "after the first" in text


def test_a_sweep_of_rows_is_a_line_and_rows_without_the_number_are_levels(tmp_path):
    rows = [made_row(tmp_path, "joint", (0.4,))]
    rows += [
        made_row(tmp_path, f"alpha={a}", (t, t), values={"method": "ogm", "method.alpha": a})
        for a, t in ((0.8, 0.5), (0.1, 0.6), (0.3, 0.7))
    ]
    (axes,), _ = drawn(made_study(rows), kind="sweep")
    line, level = axes.lines[0], axes.lines[-1]
    np.testing.assert_allclose([*line.get_xdata(), *line.get_ydata()], [0.1, 0.3, 0.8, 60, 70, 50])
    assert set(level.get_ydata()) == {40.0}
    assert axes.get_xlabel() == "alpha"


def test_two_parameters_are_a_map(tmp_path):
    rows = [
        made_row(tmp_path, f"{q}-{lam}", (t,), values={"method.q_base": q, "method.lam": lam})
        for q, lam, t in ((0.1, 0.5, 0.6), (0.3, 0.5, 0.7), (0.3, 0.9, 0.8))
    ]
    (axes, bar), _ = drawn(made_study(rows), kind="sweep")
    values = np.ma.filled(axes.images[0].get_array(), np.nan)
    np.testing.assert_allclose(values, [[60, 70], [np.nan, 80]])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("q_base", "lam")
    assert {t.get_text() for t in axes.texts} == {"60.0", "70.0", "80.0"}
    assert bar.get_ylabel() == "accuracy (%)"


def point(setting, values, accuracy, chosen=False):
    return {
        "setting": setting,
        "values": values,
        "seed": 3,
        "val": {"accuracy": accuracy} if accuracy else None,
        "chosen": chosen,
    }


def test_a_grid_is_drawn_with_what_was_taken(tmp_path):
    tuned = [point("lr=1", {"lr": 1}, 0.5), point("lr=2", {"lr": 2}, 0.75, chosen=True)]
    tuned += [point("lr=4", {"lr": 4}, None)]
    (axes,), text = drawn(
        made_study([made_row(tmp_path, "joint", (0.4,), plain={"tuned": tuned})]), kind="sweep"
    )
    assert lines_of(axes) == {"joint": ([1, 2], [50, 75])}
    (filled,) = [line for line in axes.lines if len(line.get_xdata()) == 1]
    assert (filled.get_xdata()[0], filled.get_ydata()[0]) == (2, 75)
    assert "on val of every point of the grid, seed 3" in text


def test_settings_lie_on_the_longest_axis():
    def setting(**rates):
        return frozenset(rates.items())

    # As Fig. 6 of the paper: two rates of audio, each beside three of visual.
    mixed = [setting(audio=a, visual=v) for a in (0.1, 0.2) for v in (0.1, 0.2, 0.3)]
    alone = [setting(audio=0.5)]
    found = {(axis.varied, axis.fixed): [*axis.settings] for axis in axes_of([*mixed, *alone])}
    assert found == {
        (("visual",), setting(audio=0.1)): [0.1, 0.2, 0.3],
        (("visual",), setting(audio=0.2)): [0.1, 0.2, 0.3],
        (("audio",), frozenset()): [0.5],
    }
    both = [setting(audio=a, visual=a) for a in (0.1, 0.4)]
    assert [axis.varied for axis in axes_of(both)] == [("audio", "visual")]


def test_missing_modalities_are_curves_from_nothing_missing_on(tmp_path):
    row = made_row(tmp_path, "joint", (0.6, 0.6))
    rates = [({"audio": 0.5}, 0.4), ({"audio": 0.1, "visual": 0.1}, 0.5)]
    rates += [({"audio": 0.1, "visual": 0.3}, 0.3)]
    evaluate_row(row, "missing", "rates", rates)
    (one, other), _ = drawn(made_study([row]), kind="missing", rows=["joint"])
    assert one.get_title() == "visual missing, beside 10 % of audio"
    x, y = lines_of(one)["joint"]
    # The second seed is two points higher.
    np.testing.assert_allclose([*x, *y], [10, 30, 51, 31])
    assert other.get_title() == "audio missing"
    x, y = lines_of(other)["joint"]
    np.testing.assert_allclose([*x, *y], [0, 50, 60, 41])
    with pytest.raises(NothingToDraw, match=r"mmtrain eval RUN --noise audio=0\.3"):
        drawn(made_study([row]), kind="noise")


def test_noise_is_drawn_by_its_level(tmp_path):
    row = made_row(tmp_path, "joint", (0.6,))
    evaluate_row(row, "noise", "levels", [({"visual": 0.5}, 0.5), ({"visual": 2.0}, 0.2)])
    (axes,), _ = drawn(made_study([row]), kind="noise")
    assert axes.get_title() == "visual noisy"
    x, y = lines_of(axes)["joint"]
    np.testing.assert_allclose([*x, *y], [0, 0.5, 2, 60, 50, 20])


def test_probes_are_curves_by_modality(tmp_path):
    row = made_row(tmp_path, "joint", (0.6,))
    with pytest.raises(NothingToDraw, match="--set probe_every=5"):
        drawn(made_study([row]), kind="probes")
    probe_row(row, (5, 0.4), (10, 0.6))
    audio, visual = drawn(made_study([row]), kind="probes")[0]
    assert lines_of(audio)["joint"] == ([5, 10], [40, 60])
    assert lines_of(visual)["joint"] == ([5, 10], [20, 30])


def test_classes_are_differences_from_the_baseline(tmp_path):
    joint, ogm = (made_row(tmp_path, label, (0.6, 0.6)) for label in ("joint", "ogm"))
    score_row(joint, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2), (0.3, 0.3, 0.3))
    score_row(ogm, (0.4, 0.8, 0.6), (0.2, 0.3, 0.4), (0.3, 0.2, 0.1))
    panels, _ = drawn(made_study([joint, ogm]), kind="classes")
    assert [a.get_title() for a in panels] == [
        "fused",
        "own logits of audio",
        "own logits of visual",
    ]
    # The class that gains most comes first.
    ticks = [tick.get_text() for tick in panels[0].get_yticklabels()]
    assert ticks == [CLASSES[1], CLASSES[2], CLASSES[0]]
    found = [lines_of(axes)["ogm"][0] for axes in panels]
    np.testing.assert_allclose(found, [[30, 10, -10], [10, 20, 0], [-10, -20, 0]], atol=1e-9)
    (axes, *_), text = drawn(made_study([joint, ogm]), kind="classes", most=2)
    assert len(axes.get_yticks()) == 2
    assert "The 2 of 3 classes" in text


def test_stages_are_measured_where_they_end(tmp_path):
    settings = {"method": {"stage_epochs": "2,1"}}
    accuracies = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
    row = made_row(tmp_path, "igm", (0.5,), method="igm", settings=settings, epochs=accuracies)
    panels, text = drawn(made_study([row], baseline="x"), kind="stages")
    # Stages of 2, 1, 2 and 1 epochs; the run ends within the next.
    np.testing.assert_allclose(lines_of(panels[0])["igm"], ([1, 2, 3, 4], [20, 30, 50, 60]))
    np.testing.assert_allclose(lines_of(panels[1])["igm"][1], [10, 15, 25, 30])
    assert "audio, visual in turn" in text


def test_of_many_rows_the_baseline_and_the_best_are_drawn(tmp_path):
    rows = [made_row(tmp_path, f"m{i}", (0.3 + i / 100,)) for i in range(14)]
    rows.append(made_row(tmp_path, "joint", (0.1,)))
    (axes,), text = drawn(made_study(rows), kind="curves", quantity="lr")
    assert set(lines_of(axes)) == {f"m{i}" for i in range(3, 14)} | {"joint"}
    assert "the best 12 of 15 rows" in text
