from functools import partial

import pytest

from mmprep.errors import DataError
from tests.support.listmaker import listed


@pytest.fixture
def given(tmp_path):
    return partial(listed, tmp_path)


@pytest.mark.parametrize("header", ["", "Category&VideoID&Quality&StartTime&EndTime\n"])
def test_a_video_with_two_events_of_one_span_gives_two_keys(given, header):
    train = header + "Cat&-TCDqe327us&good&0&4\nBark&-TCDqe327us&good&0&4\n"
    clips = given("ave", trainSet__txt=train, valSet__txt=header, testSet__txt=header)
    assert sorted(clips) == ["-TCDqe327us_0_4_02", "-TCDqe327us_0_4_22"]
    clip = clips["-TCDqe327us_0_4_22"]
    assert (clip.start, clip.end, clip.label) == (None, None, "Cat")
    assert (clip.extra["event_start_s"], clip.extra["event_end_s"]) == ("0", "4")
    assert clip.names == {"video": ("-TCDqe327us",)}


def test_event_variant_cuts_the_event_out_where_there_is_one(given):
    train = "Cat&aaaaaaaaaaa&good&3&7\nChurch bell&VWi2ENBuTbw&good&0&0\n"
    clips = given("ave", "event", trainSet__txt=train, valSet__txt="", testSet__txt="")
    assert [(clip.start, clip.end) for clip in clips.values()] == [(3.0, 7.0), (None, None)]


def test_a_video_in_two_splits_is_said_and_can_be_left_out(given, caplog):
    lists = {
        "trainSet__txt": "Cat&aaaaaaaaaaa&good&3&7\nCat&bbbbbbbbbbb&good&3&7\n",
        "valSet__txt": "Bark&aaaaaaaaaaa&good&3&7\n",
        "testSet__txt": "",
    }
    clips = given("ave", **lists)
    assert clips["aaaaaaaaaaa_3_7_22"].extra["also_in"] == "val"
    assert clips["aaaaaaaaaaa_3_7_02"].extra["also_in"] == "train"
    assert "1 videos are in several splits" in caplog.text
    assert len(given("ave", "no-leak", **lists)) == 2


@pytest.mark.parametrize("header", ["", "Category&VideoID&Quality&StartTime&EndTime\n"])
def test_each_second_has_the_event_or_background(given, header):
    train = header + "Cat&aaaaaaaaaaa&good&3&7\nBark&aaaaaaaaaaa&good&3&7\nBark&b&good&0&10\n"
    clips = given("ave-segments", trainSet__txt=train, valSet__txt=header, testSet__txt=header)
    cat, bark, whole = clips.values()
    assert (cat.label, cat.target) == ("Cat", (*[28.0] * 3, *[22.0] * 4, *[28.0] * 3))
    # Two events of one video are two samples, each with the label of its own.
    assert (bark.label, bark.names) == ("Bark", cat.names)
    assert bark.target == (*[28.0] * 3, *[2.0] * 4, *[28.0] * 3)
    assert whole.target == (2.0,) * 10
    assert (cat.start, cat.end) == (None, None)


def test_an_event_of_no_length_is_all_background(given):
    train = "Church bell&VWi2ENBuTbw&good&0&0\n"
    clips = given("ave-segments", trainSet__txt=train, valSet__txt="", testSet__txt="")
    assert [clip.target for clip in clips.values()] == [(28.0,) * 10]


def gesture(depth, color, label=1):
    place = "path:./Video_data/class_01/subject3_r0"
    spans = f"depth:sk_depth:{depth} color:sk_color:{color} duo_left:duo_left:1:94"
    return f"{place} {spans} label:{label} \n"


def test_spans_of_frames_become_seconds(given):
    rows = gesture("146:226", "146:226")
    clips = given("nvgesture", nvgesture_train_correct__lst=rows, nvgesture_test_correct__lst="")
    (clip,) = clips.values()
    assert clip.key == "class_01_subject3_r0"
    assert clip.start == pytest.approx(146 / 30, abs=1e-6)
    assert clip.end == pytest.approx(226 / 30, abs=1e-6)
    assert clip.names["video"] == (
        "class_01/subject3_r0/sk_color",
        "class_01/subject3_r0/sk_wrapped",
    )
    assert clip.names["depth"] == ("class_01/subject3_r0/sk_depth",)
    assert clip.extra == {"subject": "subject3"}


def test_the_colour_span_is_the_rows_where_depth_differs(given):
    rows = gesture("160:240", "161:241")
    clips = given("nvgesture", nvgesture_train_correct__lst=rows, nvgesture_test_correct__lst="")
    (clip,) = clips.values()
    assert clip.start == pytest.approx(161 / 30, abs=1e-6)
    assert clip.extra["depth_frames"] == "160:240"


@pytest.mark.parametrize(
    "row", [gesture("1:2", "1:2", 0), gesture("1:2", "1:2", 26), gesture("2:1", "2:1")]
)
def test_labels_and_spans_out_of_range_are_refused(given, row):
    with pytest.raises(DataError, match="line 1"):
        given("nvgesture", nvgesture_train_correct__lst=row, nvgesture_test_correct__lst="")
