import pytest

from mmtrain.report.runs.records import Result, SplitMeasures


@pytest.mark.parametrize("damaged", [0, 0.0, "", False, []])
def test_what_is_false_is_no_split_that_there_is_not(damaged):
    with pytest.raises((TypeError, ValueError, LookupError)):
        Result.of({"best_epoch": 1, "val": damaged, "test": None})
    assert SplitMeasures.or_none(None) is None
