"""The benchmark beside other libraries checks what it measures; tests run without these."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from bench_rivals import Row, describe_ratio, parse, print_table
from rivals import RIVALS
from rivals.base import ORDERS, Batch, Setting
from rivals.ours import Ours
from rivals.process import Failed, Measured, check_epoch, measure_epoch

from tests.support.shardmaker import Recipe, make_shards


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    setting = Setting(root=tmp_path_factory.mktemp("formats"), batch_size=4, workers=1)
    make_shards(
        setting.shards,
        Recipe(samples=8, parts=("frames", "spectrogram"), frames=3, size=(232, 224), columns=40),
    )
    return setting


class OtherEpoch(Ours):
    """Gives the samples of another epoch than is asked for."""

    def epoch(self, order: str, epoch: int) -> Iterator[Batch]:
        return super().epoch(order, epoch + 1)


class Nothing(Ours):
    """Gives no samples, as libraries do that drop those which fail."""

    def epoch(self, order: str, epoch: int) -> Iterator[Batch]:
        return iter(())


def test_our_epochs_pass_the_check_that_others_must_pass(setting):
    ours = Ours(setting)
    ours.prepare()
    for order in ORDERS:
        check_epoch(ours, order, 0)
    assert measure_epoch(ours, "audio", 1).speed > 0


def test_other_samples_than_the_order_lists_are_refused(setting):
    other, nothing = OtherEpoch(setting), Nothing(setting)
    other.prepare()
    with pytest.raises(Failed, match="other samples"):
        check_epoch(other, "scored", 0)
    with pytest.raises(Failed, match="0 samples in place of 8"):
        check_epoch(nothing, "default", 0)


def test_the_table_gives_ratios_within_rounds_and_reasons_in_words(capsys):
    ours, other = [Measured(100, 10, 1), Measured(80, 10, 1)], [Measured(50, 30, 1)] * 2
    # 100 / 50 = 2 and 80 / 50 = 1.6, so the median is 1.8 and the quartiles lie 0.1 beside it.
    assert describe_ratio(ours, other) == " 1.80 (1.70 to 1.90)   (3.00)"
    print_table("scored", [Row("ours", runs=ours), Row("litdata", reason="no: only forward")])
    assert "no: only forward" in capsys.readouterr().out


def test_help_has_the_installation_and_names_are_checked(capsys, monkeypatch):
    requirements = Path(__file__).parents[2] / "scripts/bench/rivals/requirements.txt"
    assert requirements.exists()
    monkeypatch.setattr("sys.argv", ["bench_rivals", "--help"])
    with pytest.raises(SystemExit, match="0"):
        parse()
    assert "rivals/requirements.txt" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["bench_rivals", "--data", "shards", "--only", "lance"])
    with pytest.raises(SystemExit, match="2"):
        parse()
    message = capsys.readouterr().err
    assert all(name in message for name in RIVALS)
