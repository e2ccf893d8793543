import math
from dataclasses import dataclass, fields

import pytest

from mmtrain.errors import ConfigError, UnknownName
from mmtrain.fields import above, at_least, between, check_fields, one_of
from mmtrain.methods.base import Method


@dataclass(kw_only=True)
class Example:
    form: str = one_of("tpami", "cvpr22")
    noise: str = one_of("none", "white", default="white", kind="kind of noise")
    share: float = between(0, 1, default=0.3)
    momentum: float = between(0, 1, ends="[)", default=0.9)
    gamma: float = between(0, 1, ends="(]", default=0.1)
    count: int = at_least(1, default=2)
    lr: float = above(0, default=0.1)
    end: int | None = at_least(0, default=None)

    def __post_init__(self) -> None:
        check_fields(self)


def test_defaults_are_those_of_the_fields():
    made = Example()
    assert (made.form, made.noise, made.share, made.end) == ("tpami", "white", 0.3, None)
    assert Example.share == 0.3
    assert [f.name for f in fields(made)][:2] == ["form", "noise"]


@pytest.mark.parametrize(
    "right",
    [{"share": 0}, {"share": 1}, {"momentum": 0}, {"gamma": 1}, {"count": 1}, {"end": 0}],
    ids=str,
)
def test_ends_that_belong_to_a_range_are_taken(right):
    Example(**right)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"share": 1.5}, r"share is in \[0, 1\]; got 1.5"),
        ({"share": -0.1}, r"share is in \[0, 1\]; got -0.1"),
        ({"momentum": 1}, r"momentum is in \[0, 1\); got 1"),
        ({"gamma": 0.0}, r"gamma is in \(0, 1\]; got 0.0"),
        ({"count": 0}, "count is at least 1; got 0"),
        ({"count": True}, "count is at least 1; got True"),
        ({"count": None}, "count is at least 1; got None"),
        ({"count": "3"}, "count is at least 1; got '3'"),
        ({"lr": 0}, "lr is above 0; got 0"),
        ({"lr": math.inf}, "lr is above 0; got inf"),
        ({"lr": math.nan}, "lr is above 0; got nan"),
        ({"end": -1}, "end is at least 0; got -1"),
    ],
    ids=str,
)
def test_numbers_out_of_their_range_are_refused(wrong, message):
    with pytest.raises(ConfigError, match=message):
        Example(**wrong)


def test_names_that_are_not_among_the_known_are_refused():
    with pytest.raises(UnknownName, match="no form 'tpam'; did you mean tpami"):
        Example(form="tpam")
    with pytest.raises(UnknownName, match="no kind of noise 'red'; there are: none, white"):
        Example(noise="red")


def test_a_method_checks_its_fields():
    @dataclass(kw_only=True, eq=False)
    class Checked(Method):
        share: float = between(0, 1, default=0.5)

    with pytest.raises(ConfigError, match="share is in"):
        Checked(share=2)
