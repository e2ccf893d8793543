import base64
import re

import cv2
import numpy as np
import pytest

from mmprep.html.charts import COLOURS, DASHES, Line, columns, legend, lines, style
from mmprep.html.markup import el, join, table
from mmtrain.report.charts.dots import dots
from mmtrain.report.charts.heat import heat
from tests.support.reportwork import Page


def line(y, x=None, **more):
    y = np.array(y, float)
    x = np.arange(1, len(y) + 1.0) if x is None else np.array(x, float)
    return Line(name="a<b", style=0, x=x, y=y, **more)


def points(picture, kind="line"):
    """Pixels of the paths of a kind."""
    paths = re.findall(rf'<path d="M([^"]*?)Z?" class="{kind} ', picture)
    return [[tuple(map(float, p.split())) for p in path.split("L")] for path in paths]


def test_text_is_escaped_and_markup_is_not():
    found = el("p", 'a < "b"', el("b", "&"), None, title='"', class_="x", aria_label=None)
    assert found == '<p title="&quot;" class="x">a &lt; &quot;b&quot;<b>&amp;</b></p>'
    assert join("<", el("br")) == "&lt;<br>"
    assert el("p", "a\udcff") == "<p>a?</p>"
    assert '<th scope="col" class="n">2</th>' in table(("a", "2"), [("b", "3")])


def test_a_line_goes_where_its_values_are():
    (path,) = points(lines("t", [line([0, 10, 5])]))
    xs, ys = zip(*path, strict=True)
    # The axis is 0 to 10: the middle value lies half way between the ends; up is less.
    assert ys[1] < ys[2] < ys[0]
    assert ys[2] == pytest.approx((ys[0] + ys[1]) / 2, abs=0.1)
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1], abs=0.1)


def test_a_gap_is_left_out_and_a_band_closed():
    edges = np.array([0.0, 1.0, np.nan]), np.array([1.0, 2.0, np.nan])
    picture = lines("t", [line([0.5, 1.5, np.nan], bands=(edges,))])
    assert len(points(picture)[0]) == 2
    assert len(points(picture, "band")[0]) == 4


@pytest.mark.parametrize("y", [[3], [0, 0], [1e-9, 1e-9], [-2, -2], [1e9, 2e9], [1e-7, 2e-7]])
def test_axes_take_any_span(y):
    picture = lines("t", [line(y)])
    page = Page(picture)
    assert "nan" not in picture
    assert "inf" not in picture
    ticks = [word for word in page.words if re.fullmatch(r"-?[\d.,e+-]+", word)]
    assert len(ticks) >= 3
    for _, top in points(picture)[0]:
        assert 0 < top < 220


def test_one_epoch_has_its_number_and_no_others():
    page = Page(lines("t", [line([3])]))
    assert [word for word in page.words if word in ("0.6", "1", "1.4")] == ["1"]


def test_nothing_to_draw_is_nothing():
    assert lines("t", []) is None
    assert lines("t", [line([np.nan, np.nan])]) is None


def test_a_tooltip_says_what_every_line_is_worth():
    other = Line(name="late", style=1, x=np.array([2.0]), y=np.array([7.0]))
    picture = lines("t", [line([1, 2]), other])
    assert "<title>epoch 1\na&lt;b: 1</title>" in picture
    assert "<title>epoch 2\na&lt;b: 2\nlate: 7</title>" in picture


def test_long_runs_have_few_tooltips_and_no_dots():
    picture = lines("t", [line(np.arange(500.0))])
    assert picture.count('class="hover"') <= 60
    assert "<circle" not in picture
    assert len(picture) < 30_000


def test_no_two_of_28_styles_look_the_same():
    looks = [style(i) for i in range(COLOURS * DASHES)]
    assert len(set(looks)) == 28
    # Neighbours differ in both, so colour is never the only difference.
    assert style(0) == "s0"
    assert style(1) == "s1 d1"
    assert style(COLOURS) == "s0 d3"
    assert 'class="line s2 d1"' in legend([("a", 9)])


def test_an_axis_does_not_go_where_values_cannot():
    def ticks(picture):
        return [float(w) for w in Page(picture).words if re.fullmatch(r"-?[\d.]+", w)]

    assert min(ticks(lines("age", [line([0, 0])]))) < 0
    assert min(ticks(lines("age", [line([0, 0])], limits=(0, np.inf)))) == 0
    assert max(ticks(lines("%", [line([99.9, 100])], limits=(0, 100)))) == 100


def test_of_many_lines_bands_are_hidden():
    bands = ((np.array([0.0, 1.0]), np.array([2.0, 3.0])),)
    few = [line([1, 2], bands=bands)] * 3
    assert 'class="many"' not in lines("t", few)
    assert 'class="many"' in lines("t", [*few, line([1, 2], bands=bands)])


def test_bars_are_as_high_as_their_counts():
    picture = columns("t", {"0": [2], "1": [3, 1]}, "visits")
    heights = [float(h) for h in re.findall(r'height="([\d.]+)" class="bar s0"', picture)]
    upper = float(re.search(r'height="([\d.]+)" class="bar s1 d1"', picture)[1])
    assert heights[1] == pytest.approx(1.5 * heights[0], abs=0.1)
    assert upper == pytest.approx(0.5 * heights[0], abs=0.1)
    assert "<title>1: 4</title>" in picture


def test_a_matrix_is_opaque_where_its_values_are_large():
    values = np.array([[1.0, 0.0, -1.0], [0.5, np.nan, -2.0]])
    picture = heat("t", values, (("r<", "s"), ("a", "b", "c")), ("rows", "columns"))
    encoded = re.search(r"base64,([^\"]+)", picture)[1]
    pixels = np.frombuffer(base64.b64decode(encoded), np.uint8)
    pixels = cv2.imdecode(pixels, cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(pixels[..., 3], [[255, 0, 255], [128, 0, 255]])
    blue, green, red = pixels[0, 0, :3]
    assert blue > green > red
    blue, green, red = pixels[0, 2, :3]
    assert red > green > blue
    assert "r&lt;" in picture


def test_small_matrices_have_numbers_and_large_ones_fewer_names():
    values = np.eye(2)
    names = ("a", "b")
    picture = heat("t", values, (names, names), ("x", "y"), lambda i, j: f"{i}{j}" if i else "")
    assert [w for w in Page(picture).words if w.isdigit()] == ["10", "11"]
    many = [f"name {i}" for i in range(300)]
    picture = heat("t", np.eye(300), (many, many), ("x", "y"))
    assert 10 < picture.count("<text") < 60


def test_classes_stand_in_order_from_the_worst():
    picture = dots("t", ["good", "none", "bad"], {0: [0.9, float("nan"), 0.1]})
    words = Page(picture).words
    assert words.index("bad") < words.index("good")
    assert "none" not in words
    assert "10.0" in words
    assert picture.count("<rect") == 2


def test_several_groups_have_a_mark_each():
    picture = dots("t", ["a", "b"], {0: [0.9, 0.2], 3: [0.7, float("nan")]})
    assert picture.count('class="mark s0"') == 2
    assert picture.count('class="mark s3 d3"') == 1


def test_of_many_classes_the_worst_are_drawn():
    names = [f"c{i}" for i in range(100)]
    picture = dots("t", names, {0: [i / 100 for i in range(100)]})
    words = Page(picture).words
    assert "c0" in words
    assert "c99" not in words
    assert "t, 40 of 100" in words
