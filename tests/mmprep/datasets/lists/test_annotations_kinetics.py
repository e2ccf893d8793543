import json
from collections import Counter
from functools import partial

import pytest

from tests.support.listmaker import K400, listed

BLIND = "youtube_id,time_start,time_end,split\n--6bJUbfpnQ,17,27,test\n"


@pytest.fixture
def given(tmp_path):
    return partial(listed, tmp_path)


def test_kinetics_csv_is_filtered_by_class_and_keeps_odd_ids(given):
    train = K400 + "singing,-_a_bQRBEz2,104,114,train,0\nabseiling,aaaaaaaaaaa,1,11,train,0\n"
    clips = given("kinetics-sounds", train__csv=train, val__csv=K400, test__csv=K400)
    (clip,) = clips.values()
    assert clip.key == "-_a_bQRBEz2_000104_000114"
    assert (clip.label, clip.split, clip.start, clip.end) == ("singing", "train", None, None)
    assert "-_a_bQRBEz2_104_114" in clip.names["video"]
    assert "-_a_bQRBEz2_104" in clip.names["video"]


def test_kinetics_columns_go_by_the_header(given):
    train = "is_cc,split,time_end,time_start,youtube_id,label\n0,train,12,2,bbbbbbbbbbb,bowling\n"
    assert list(given("kinetics-sounds", train__csv=train)) == ["bbbbbbbbbbb_000002_000012"]


def test_a_test_csv_without_labels_is_left_out_and_said(given, caplog):
    train = K400 + "singing,aaaaaaaaaaa,1,11,train,0\n"
    clips = given("kinetics-sounds", train__csv=train, test__csv=BLIND)
    assert {clip.split for clip in clips.values()} == {"train"}
    assert "test.csv has no column of labels" in caplog.text


def test_id_lists_label_the_test_clips_that_the_csv_does_not(given):
    train = K400 + "singing,aaaaaaaaaaa,1,11,train,0\n"
    clips = given(
        "kinetics-sounds",
        train__csv=train,
        val__csv=K400 + "singing,ccccccccccc,1,11,val,0\n",
        test__csv=BLIND,
        my_train__txt="aaaaaaaaaaa_000001_000011,10,25\r\n",
        my_test__txt="--6bJUbfpnQ_17,10,25\r\n-a_bcdefghi_0,10,30\r\n",
    )
    found = {clip.key: (clip.label, clip.split) for clip in clips.values()}
    assert found["--6bJUbfpnQ_000017_000027"] == ("singing", "test")
    assert found["-a_bcdefghi_000000_000010"] == ("tickling", "test")
    assert found["ccccccccccc_000001_000011"] == ("singing", "val")


def test_an_id_list_wins_over_the_csv(given):
    csv = K400 + "singing,aaaaaaaaaaa,1,11,train,0\nsinging,lostlostlos,1,11,train,0\n"
    clips = given(
        "kinetics-sounds", train__csv=csv, my_train__txt="aaaaaaaaaaa_000001_000011,10,25\n"
    )
    assert list(clips) == ["aaaaaaaaaaa_000001_000011"]


def database(**entries):
    clips = {name: {"subset": s, "label": label} for name, (s, label) in entries.items()}
    return json.dumps({"labels": [], "database": clips})


def test_database_has_all_splits_and_underscored_labels(given):
    names = {
        "aaaaaaaaaaa_000001_000011": ("training", "tap_dancing"),
        "bbbbbbbbbbb_7": ("validation", "singing"),
        "-cc_ccccccc_7": ("testing", "singing"),
    }
    clips = given("kinetics-sounds", KS_train_val__json=database(**names))
    assert [(c.label, c.split) for c in clips.values()] == [
        ("tap dancing", "train"),
        ("singing", "val"),
        ("singing", "test"),
    ]


def test_merged_database_tells_test_by_the_names(given):
    names = {
        "aaaaaaaaaaa_000001_000011": ("training", "singing"),
        "bbbbbbbbbbb_7": ("training", "singing"),
    }
    clips = given("kinetics-sounds", KS__json=database(**names), val__csv=K400)
    assert [clip.split for clip in clips.values()] == ["train", "test"]


def test_the_32nd_class_comes_from_the_csv(given):
    csv = K400 + '"strumming guitar",ddddddddddd,1,11,train,0\nsinging,lostlostlos,1,11,train,0\n'
    ids = database(aaaaaaaaaaa_000001_000011=("training", "singing"))
    clips = given("kinetics-sounds", "32", KS_train_val__json=ids, train__csv=csv)
    assert Counter(c.label for c in clips.values())["strumming guitar"] == 1
    assert "aaaaaaaaaaa_000001_000011" in clips


def test_the_34_names_of_2017_are_renamed(given):
    csv = (
        K400
        + '"stomping grapes",ddddddddddd,1,11,train,0\n"mowing lawn",eeeeeeeeeee,1,11,train,0\n'
    )
    clips = given("kinetics-sounds", "34", train__csv=csv)
    wanted = {"stomping", "mowing the lawn by pushing lawnmower"}
    assert {clip.label for clip in clips.values()} == wanted
