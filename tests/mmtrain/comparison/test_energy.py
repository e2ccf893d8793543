"""Energy from counters in a folder such as Linux has, and which sums a manifest gives."""

import pytest

from mmtrain.comparison.energy import EnergyMeter
from mmtrain.comparison.manifest import _energy


def package(folder, joules, most=1000):
    folder.mkdir(exist_ok=True)
    (folder / "energy_uj").write_text(f"{round(joules * 1e6)}\n")
    (folder / "max_energy_range_uj").write_text(f"{round(most * 1e6)}\n")


def test_processors_are_added_and_their_parts_are_not(tmp_path):
    package(tmp_path / "intel-rapl:0", 10)
    package(tmp_path / "intel-rapl:0:0", 5)
    package(tmp_path / "intel-rapl:1", 990)
    meter = EnergyMeter(tmp_path)
    package(tmp_path / "intel-rapl:0", 12.5)
    package(tmp_path / "intel-rapl:0:0", 7)
    package(tmp_path / "intel-rapl:1", 20)  # It began anew at 1000.
    found = meter.end()
    assert {name: found[name] for name in ("cpu 0", "cpu 1")} == pytest.approx(
        {"cpu 0": 2.5, "cpu 1": 30}
    )


def test_without_counters_there_is_no_number(tmp_path):
    meter = EnergyMeter(tmp_path)
    assert [name for name in meter.end() or () if name.startswith("cpu")] == []


def test_a_run_of_a_command_that_was_killed_leaves_no_sum():
    command = {"joules": {"cpu 0": 3.0}, "started": "10:00", "ended": "11:00"}
    assert _energy([command], [{"started": ["10:05"]}]) == 3
    assert _energy([command], [{"started": ["09:05", "10:05"]}]) is None
    assert _energy([{**command, "joules": None}], []) is None
