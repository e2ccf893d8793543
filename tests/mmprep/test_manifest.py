import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmprep.errors import DataError
from mmprep.format.fields import build
from mmprep.manifest import (
    KEY_LENGTH,
    Row,
    check_rows,
    leads_outside,
    read_csv,
    safe_key,
    write_csv,
)

LABELS = st.text(
    st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1, max_size=20
).filter(lambda text: text == text.strip())
SECONDS = st.floats(0, 4e6, allow_nan=False)


def row(**changes):
    return Row(
        **({"key": "a", "label": "x", "split": "train", "sources": {"video": "a.mp4"}} | changes)
    )


@given(st.text(min_size=1))
def test_safe_keys_are_keys_and_stable(name):
    key = safe_key(name)
    assert 1 <= len(key) <= KEY_LENGTH
    assert check_rows([row(key=key)], "here")[0].key == key
    assert safe_key(name) == key == safe_key(key)


def test_safe_key_keeps_names_of_youtube_clips():
    assert safe_key("-3Mwkq-7TV4_2") == "-3Mwkq-7TV4_2"
    assert safe_key("---g-f_I2yQ_000001") == "---g-f_I2yQ_000001"


def test_safe_key_tells_apart_what_it_has_to_rewrite():
    names = ["a/b", "a b", "a.b", "x" * 81, "x" * 82, "é", "è"]
    assert len({safe_key(name) for name in names}) == len(names)


@settings(deadline=None)
@given(LABELS, SECONDS, SECONDS)
def test_csv_round_trip(tmp_path_factory, label, start, length):
    path = tmp_path_factory.mktemp("csv") / "m.csv"
    end = start + length if start + length > start else None
    extra = {"said": label}
    rows = [row(label=label, start=start, end=end, sources={"video": "ä, b/1.mp4"}, extra=extra)]
    write_csv(rows, path)
    assert read_csv(path) == rows


@pytest.mark.parametrize(
    "label", ["donkey, ass braying", 'say "hi"', "Übermut", "打鼓", "#1", "a;b"]
)
def test_labels_with_commas_quotes_and_any_letters_survive(tmp_path, label):
    write_csv([row(label=label)], tmp_path / "m.csv")
    assert [r.label for r in read_csv(tmp_path / "m.csv")] == [label]


def test_kinds_of_source_survive_side_by_side(tmp_path):
    rows = [
        row(sources={"video": "a.avi", "depth": "d.avi"}, start=146 / 30, end=226 / 30),
        row(key="b", split="test", sources={"audio": "b.wav", "image": "train-idx3-ubyte#7"}),
    ]
    write_csv(rows, tmp_path / "m.csv")
    assert read_csv(tmp_path / "m.csv") == rows


def test_bom_crlf_and_missing_columns_are_fine(tmp_path):
    path = tmp_path / "m.csv"
    path.write_bytes('\ufefflabel,video,actor\r\n"a, b",x/y.mp4,7\r\n'.encode())
    (only,) = read_csv(path)
    assert only == row(
        key=safe_key("x/y"), label="a, b", sources={"video": "x/y.mp4"}, extra={"actor": "7"}
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has nothing"),
        ("video\na.mp4\n", "header with `label`"),
        ("label,film\na,b\n", "header with `label`"),
        ("label,video\na,\n", "line 2: a row needs"),
        ("label,video\n,a.mp4\n", "line 2: a row needs"),
        ("label,video\na,b, c.mp4\n", "line 2: more fields"),
        ("label,video,start\na,b.mp4,soon\n", "line 2: 'soon' is no time"),
        ("label,video,start\na,b.mp4,-1\n", "line 2: '-1' is no time"),
        ("label,video,start\na,b.mp4,nan\n", "line 2: 'nan' is no time"),
        ("label,video,start,end\na,b.mp4,3,3\n", "line 2: the end, 3 s"),
        ("label,video,split\na,b.mp4,dev\n", "split 'dev' is none of train, val, test"),
        ("label,video,key\na,b.mp4,k\na,c.mp4,k\n", "'k' stands twice: b.mp4 and c.mp4"),
        ("label,video,key\na,b.mp4,a/b\n", "key 'a/b'"),
    ],
)
def test_a_fault_names_the_file_and_the_line(tmp_path, text, message):
    path = tmp_path / "m.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        read_csv(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", [b"label,video\n\xe9,a.mp4\n", b"l\xe9bel,video\n"])
def test_other_encodings_are_refused(tmp_path, content):
    (tmp_path / "m.csv").write_bytes(content)
    with pytest.raises(DataError, match="not UTF-8"):
        read_csv(tmp_path / "m.csv")


@pytest.mark.parametrize(
    "source",
    ["../x.mp4", "a/../../x.mp4", "/etc/x.mp4", "C:\\x.mp4", "C:x.mp4", "\\\\host\\x", "..\\x"],
)
def test_paths_that_leave_raw_are_refused(tmp_path, source):
    assert leads_outside(source)
    (tmp_path / "m.csv").write_text(f"label,video\na,{source}\n")
    with pytest.raises(DataError, match="leaves --raw"):
        read_csv(tmp_path / "m.csv")


@pytest.mark.parametrize("source", ["a..b/x.mp4", "...mp4", "-x/--g.mp4", "a/b c.mp4"])
def test_odd_names_inside_raw_are_fine(source):
    assert not leads_outside(source)


def test_an_extra_may_not_shadow_a_column(tmp_path):
    with pytest.raises(DataError, match="extra 'label'"):
        write_csv([row(extra={"label": "y"})], tmp_path / "m.csv")


def test_times_are_kept_to_the_last_bit(tmp_path):
    write_csv([row(start=math.pi * 1000)], tmp_path / "m.csv")
    assert read_csv(tmp_path / "m.csv")[0].start == math.pi * 1000


# Habits of spreadsheets and of other systems


def written(tmp_path, text, raw=None):
    path = tmp_path / "m.csv"
    path.write_text(text)
    return read_csv(path, raw)


def test_headers_and_splits_may_have_blanks_and_capitals(tmp_path):
    rows = written(tmp_path, 'Label, Video, Split, Actor\ncat, "a, b.mp4", Train , x\n')
    assert rows == [
        row(key=safe_key("a, b"), label="cat", sources={"video": "a, b.mp4"}, extra={"Actor": "x"})
    ]


def test_a_column_that_is_there_twice_is_refused(tmp_path):
    with pytest.raises(DataError, match="two columns are called label"):
        written(tmp_path, "label,Label,video\na,b,c.mp4\n")


def test_a_nul_byte_is_named_with_its_line(tmp_path):
    with pytest.raises(DataError, match=r"line 3: .*NUL"):
        written(tmp_path, "label,video\na,a.mp4\nb,b\0.mp4\n")


def test_spans_of_one_video_get_keys_from_their_times(tmp_path):
    rows = written(tmp_path, "label,video,start,end\nx,v/a.mp4,0,4\ny,v/a.mp4,4,7.5\nz,b.mp4,1,2\n")
    assert [r.key for r in rows] == [safe_key("v/a_0_4"), safe_key("v/a_4_7.5"), "b"]


def test_a_span_that_is_there_twice_asks_for_a_column_of_keys(tmp_path):
    with pytest.raises(DataError, match=r"stands twice.*column `key`"):
        written(tmp_path, "label,video,start\nx,a.mp4,0\ny,a.mp4,0\n")


def test_absolute_paths_below_raw_are_relative_to_it(tmp_path):
    text = f"label,video\nx,{tmp_path}/raw/v/a.mp4\n"
    assert written(tmp_path, text, tmp_path / "raw")[0].source == "v/a.mp4"
    with pytest.raises(DataError, match="leaves --raw"):
        written(tmp_path, text, tmp_path / "other")
    url = "label,video\nx,s3://b/raw/v/a.mp4\n"
    assert written(tmp_path, url, "s3://b/raw")[0].source == "v/a.mp4"


def test_backslashes_are_folders_unless_they_are_letters_of_a_file(tmp_path):
    (tmp_path / "w\\a.mp4").touch()
    rows = written(tmp_path, "label,video\nx,v\\a.mp4\ny,w\\a.mp4\n", tmp_path)
    assert [r.source for r in rows] == ["v/a.mp4", "w\\a.mp4"]


def test_without_splits_they_are_drawn_and_the_log_reports_it(tmp_path, caplog):
    lines = [f"x,c{n}.mp4,{s},{s + 1}\n" for n in range(60) for s in (0, 1)]
    rows = written(tmp_path, "label,video,start,end\n" + "".join(lines))
    assert {r.split for r in rows} == {"train", "val", "test"}
    assert "names no split, so splits are drawn by path" in caplog.text
    # Both spans of a video lie in one split, and other rows change nothing.
    assert all(len({r.split for r in rows if r.source == s.source}) == 1 for s in rows)
    few = written(tmp_path, "label,video,start,end\n" + "".join(lines[:20]))
    assert few == rows[:20]


def test_rows_without_a_split_beside_rows_with_one_are_train(tmp_path, caplog):
    rows = written(tmp_path, "label,video,split\nx,a.mp4,\ny,b.mp4,test\n")
    assert [r.split for r in rows] == ["train", "test"]
    assert "1 of 2 rows name no split: train" in caplog.text


def test_listed_times_of_a_whole_video_survive(tmp_path):
    rows = [row(listed=(28.0, 38.0)), row(key="b")]
    write_csv(rows, tmp_path / "m.csv")
    assert read_csv(tmp_path / "m.csv") == rows
    assert [build(Row, json.loads(json.dumps(r.to_json()))) for r in rows] == rows
    with pytest.raises(ValueError, match="listed: 1 values where 2 are due"):
        build(Row, {**rows[0].to_json(), "listed": [28.0]})
