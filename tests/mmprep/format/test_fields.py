"""JSON becomes dataclasses only where every value has the type of its field."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from mmprep.format.fields import build, parse_json


@dataclass(frozen=True, kw_only=True)
class Inner:
    size: int


@dataclass(frozen=True, kw_only=True)
class Outer:
    name: str
    inner: tuple[Inner, ...] = ()
    shares: Mapping[str, float] = field(default_factory=dict)
    limit: int | None = None


def test_nested_values_are_built() -> None:
    plain = {"name": "a", "inner": [{"size": 3}], "shares": {"x": 1}, "limit": None}
    made = build(Outer, plain)
    assert made == Outer(name="a", inner=(Inner(size=3),), shares={"x": 1})


@pytest.mark.parametrize(
    ("plain", "fault"),
    [
        ([], "where an object is due"),
        ({}, "lacks the field 'name'"),
        ({"name": "a", "x": 1}, "unknown field 'x'"),
        ({"name": 5}, "name: 5 where a value of type str is due"),
        ({"name": "a", "inner": {"size": 3}}, "inner: .* type list"),
        ({"name": "a", "inner": [{"size": True}]}, "inner: size: True where .* int"),
        ({"name": "a", "shares": {"x": "1"}}, "shares: '1' where .* float"),
        ({"name": "a", "limit": 0.5}, "limit: 0.5 where .* int"),
    ],
)
def test_values_of_another_type_are_named(plain: object, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        build(Outer, plain)


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"\xff", b'"\\ud800"', b"1e999", b"9" * 19, b"9" * 6000),
        *(b"[" * 100_000, b'{"a":' * 100_000, b"{'a': 1}"),
    ],
)
def test_text_that_no_file_of_ours_holds_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_json(text)


def test_largest_seed_and_whole_surrogate_pairs_pass() -> None:
    assert parse_json(b'[9223372036854775807, "\\ud83d\\ude00"]') == [2**63 - 1, "\U0001f600"]
