import math

import numpy as np
import pytest

from mmtrain.config.run import OptimizerConfig
from mmtrain.report.runs.groups import (
    Spread,
    common_settings,
    differences,
    group_runs,
    modalities_of,
)
from mmtrain.report.runs.read import read_runs
from mmtrain.report.sections.curves import over_epochs
from tests.support.reportwork import make_run


def groups_of(*folders):
    return group_runs(read_runs(folders))


def test_runs_that_differ_in_the_seed_are_one_group(tmp_path):
    runs = [make_run(tmp_path / f"s{seed}", test=test, seed=seed, workers=seed + 1)
            for seed, test in ((2, 0.6), (0, 0.2), (1, 0.4))]  # fmt: skip
    (group,) = groups_of(*runs)
    assert [run.config.seed for run in group.runs] == [0, 1, 2]
    # 0.2, 0.4, 0.6: the sum of squares about 0.4 is 0.08, over 2 degrees of freedom 0.04.
    found = group.spread(lambda run: run.test.fused.value("accuracy"))
    assert found == pytest.approx((0.4, 0.2, 3))
    assert found.text(scale=100) == "40.00 ± 20.00"


def test_unfinished_runs_do_not_count_beside_finished_ones(tmp_path):
    done = make_run(tmp_path / "a", (0.5,), seed=1)
    begun = make_run(tmp_path / "b", (0.1,), test=None, seed=0)
    (group,) = groups_of(begun, done)
    assert group.spread(lambda run: run.val.fused.value("accuracy")) == pytest.approx(
        (0.5, math.nan, 1), nan_ok=True
    )
    assert group.first.name == "a"


def test_a_spread_of_few_values():
    assert Spread.of([None, math.nan]).text() == "-"
    assert Spread.of([None, 0.5]).text(1, 100) == "50.0"


def test_labels_say_what_differs(tmp_path):
    slow, fast, ogm = (
        make_run(tmp_path / "slow", optimizer=OptimizerConfig(lr=0.01)),
        make_run(tmp_path / "fast", optimizer=OptimizerConfig(lr=0.5)),
        make_run(tmp_path / "multi", method="multitask", curriculum="bss-l"),
    )
    groups = groups_of(slow, fast, ogm)
    labels = ["joint (lr 0.01)", "joint (lr 0.5)", "multitask + bss-l"]
    assert [group.label for group in groups] == labels
    assert [group.style for group in groups] == [0, 1, 2]


def test_differences_are_what_is_not_the_same_in_all(tmp_path):
    one = make_run(tmp_path / "a", seed=3, settings={"method": {"alpha": 0.3}}, device="cpu")
    other = make_run(tmp_path / "b", epochs=7, modalities=("audio", "visual", "flow"))
    groups = groups_of(one, other)
    assert differences(groups) == {
        "modalities": ["audio, visual", "audio, visual, flow"],
        "epochs": ["100", "7"],
        "settings.method.alpha": ["0.3", "-"],
    }
    assert modalities_of(groups) == ["audio", "visual", "flow"]


def test_runs_on_other_data_are_no_seeds_of_each_other(tmp_path):
    groups = groups_of(
        make_run(tmp_path / "a", data="x"), make_run(tmp_path / "b", data="y", seed=1)
    )
    assert [group.label for group in groups] == ["joint (data x)", "joint (data y)"]


def test_a_line_of_seeds_is_their_mean_with_a_band_that_keeps_to_what_can_be(tmp_path):
    (group,) = groups_of(
        make_run(tmp_path / "a", (0.0, 0.5)), make_run(tmp_path / "b", (1.0, 0.7, 0.9), seed=1)
    )
    line = over_epochs(group, lambda epoch: epoch.val.fused.value("accuracy"), "x", 0, (0, 1))
    # Standard deviations of (0, 1) and (.5, .7): .7071 and .1414; of one value there is none.
    np.testing.assert_allclose(line.x, [1, 2, 3])
    np.testing.assert_allclose(line.y, [0.5, 0.6, 0.9])
    ((low, high),) = line.bands
    np.testing.assert_allclose(low, [0, 0.6 - 0.1 * math.sqrt(2), math.nan])
    np.testing.assert_allclose(high, [1, 0.6 + 0.1 * math.sqrt(2), math.nan])


def test_runs_of_a_comparison_have_the_names_of_its_table(tmp_path):
    (tmp_path / "table.json").write_text("{}")
    runs = [
        make_run(tmp_path / name / f"seed-{seed}", seed=seed, **config)
        for name, config in (
            ("ogm-ge+bss-l", {"method": "ogm-ge", "curriculum": "bss-l"}),
            ("visual-alone", {"modalities": ("visual",)}),
        )
        for seed in range(2)
    ]
    assert [group.label for group in groups_of(*runs)] == ["ogm-ge+bss-l", "visual-alone"]
    # A run that somebody has moved there under another name is none of the comparison's.
    other = make_run(tmp_path / "mine" / "run")
    assert [group.label for group in groups_of(other)] == ["joint"]


def test_a_model_of_one_modality_beside_others_is_a_unimodal_model(tmp_path):
    both = make_run(tmp_path / "both")
    audio = make_run(tmp_path / "audio", modalities=("audio",))
    assert [group.label for group in groups_of(both, audio)] == ["joint", "audio-alone"]
    assert [group.label for group in groups_of(audio)] == ["joint"]


def test_common_settings_are_those_of_all(tmp_path):
    groups = groups_of(
        make_run(tmp_path / "a"), make_run(tmp_path / "b", epochs=7, method="multitask")
    )
    common = common_settings(groups)
    assert common["batch_size"] == "64"
    assert common["optimizer.lr"] == "0.01"
    assert not {"epochs", "method", "seed"} & common.keys()
