from collections import Counter
from functools import partial

import pytest

from mmprep.datasets import spec
from mmprep.datasets.lists import Lists, read
from mmprep.datasets.lists.text import whole_seconds
from mmprep.errors import DataError
from tests.support.listmaker import listed

CLASSES = "1 ApplyEyeMakeup\r\n37 HandstandPushups\r\n"


@pytest.fixture
def given(tmp_path):
    return partial(listed, tmp_path)


@pytest.mark.parametrize("header", [b"", b"name,label\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_crema_lists_with_or_without_mark_header_and_crlf(given, mark, header):
    train = mark + header + b"1088_IOM_NEU_XX,NEU\r\n1017_IWW_HAP_XX,HAP\r\n"
    clips = given("crema-d", train__csv=train, test__csv="1033_ITS_HAP_XX,HAP\n")
    assert [c.label for c in clips.values()] == ["NEU", "HAP", "HAP"]
    first = clips["1088_IOM_NEU_XX"]
    assert first.extra == {"actor": "1088", "sentence": "IOM", "level": "XX"}
    assert first.names == {"video": ("1088_IOM_NEU_XX",), "audio": ("1088_IOM_NEU_XX",)}


def test_mla_lists_say_emotions_in_words(given):
    lists = {
        "my_train_cre__txt": "1085_IWL_SAD_XX.flv Sad\n",
        "my_test_cre__txt": "1059_TSI_HAP_XX.flv Happy\n",
    }
    clips = given("crema-d", "mla", **lists)
    assert [clip.label for clip in clips.values()] == ["SAD", "HAP"]


def test_a_label_that_contradicts_its_name_is_refused(given):
    with pytest.raises(DataError, match=r"train\.csv, line 2: by its name the clip is HAP"):
        given("crema-d", train__csv="1088_IOM_NEU_XX,NEU\n1017_IWW_HAP_XX,SAD\n", test__csv="")


def test_official_split_is_by_actor(given):
    rows = "\n".join(
        f'{n},"{1000 + n % 20}_IEO_NEU_X{c}"' for n in range(200) for c in "ABCDE"[n % 5]
    )
    names = dict.fromkeys(line.split('"')[1] for line in rows.splitlines())
    text = '"Stimulus_Number","Filename"\n' + "\n".join(f'{i},"{n}"' for i, n in enumerate(names))
    clips = given("crema-d", "official", SentenceFilenames__csv=text)
    splits = {}
    for clip in clips.values():
        splits.setdefault(clip.extra["actor"], set()).add(clip.split)
    assert all(len(found) == 1 for found in splits.values())
    assert Counter(s for (s,) in splits.values()) == {"train": 16, "val": 2, "test": 2}


def test_vggsound_in_four_columns_with_quoted_commas(given):
    text = '---g-f_I2yQ,1,people marching,test\r\naEYwqY-Zt_k,11,"donkey, ass braying",train\r\n'
    clips = given("vggsound", vggsound__csv=text)
    assert clips["aEYwqY-Zt_k_000011_000021"].label == "donkey, ass braying"
    assert clips["---g-f_I2yQ_000001_000011"].split == "test"
    names = clips["aEYwqY-Zt_k_000011_000021"].names["video"]
    assert {"aEYwqY-Zt_k_000011", "aEYwqY-Zt_k_11", "aEYwqY-Zt_k_11000_21000"} <= set(names)
    assert "aEYwqY-Zt_k" not in names


def test_vggsound_in_two_columns_a_split(given):
    clips = given("vggsound", test__csv="---g-f_I2yQ_000001.mp4,people marching\r\n", train__csv="")
    assert list(clips) == ["---g-f_I2yQ_000001_000011"]


def test_both_forms_of_the_vggsound_list_give_the_same_clip(given, tmp_path):
    two = given("vggsound", test__csv="---g-f_I2yQ_000001.mp4,people marching\n")
    four = given("vggsound", vggsound__csv="---g-f_I2yQ,1,people marching,test\n")
    assert two == four


def test_clips_of_one_video_go_to_val_together(tmp_path):
    rows = [f"{n // 4:011d},{n % 4},people marching,train" for n in range(400)]
    (tmp_path / "vggsound.csv").write_text("\n".join(rows))
    clips = read(Lists(tmp_path, None), spec.load("vggsound"))
    by_video = {}
    for clip in clips:
        by_video.setdefault(clip.extra["youtube_id"], set()).add(clip.split)
    assert all(len(splits) == 1 for splits in by_video.values())
    assert Counter(clip.split for clip in clips) == {"train": 360, "val": 40}


def test_ucf_lists_with_crlf_and_a_class_whose_files_differ_in_case(given):
    clips = given(
        "ucf-101",
        classInd__txt=CLASSES,
        trainlist01__txt="HandstandPushups/v_HandStandPushups_g08_c01.avi 37\r\n",
        testlist01__txt="ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi\r\n",
    )
    train = clips["v_HandStandPushups_g08_c01"]
    assert (train.label, train.split) == ("HandstandPushups", "train")
    assert train.extra == {"group": "v_HandStandPushups_g08"}
    assert clips["v_ApplyEyeMakeup_g01_c01"].label == "ApplyEyeMakeup"


def test_ucf_numbers_count_from_one(given):
    lists = {"classInd__txt": CLASSES, "testlist01__txt": ""}
    with pytest.raises(DataError, match="class ApplyEyeMakeup has the number 1"):
        given(
            "ucf-101", trainlist01__txt="ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 0\n", **lists
        )


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("vggsound__csv", "id,start seconds,label,split\naaaaaaaaaaa,30.0,zebra braying,Train\n"),
        ("train__csv", "file,label\naaaaaaaaaaa_30.0.mp4,zebra braying\n"),
    ],
)  # fmt: skip
def test_vggsound_lists_from_other_programs_have_headers_and_fractions(tmp_path, file, text):
    clips = listed(tmp_path, "vggsound", **{file: text})
    assert [(c.key, c.split) for c in clips.values()] == [("aaaaaaaaaaa_000030_000040", "train")]


def test_whole_seconds_are_whole():
    assert [whole_seconds(t) for t in ("30", "30.0", "30.", "30.5", "", "x")] == [
        *(30, 30, 30),
        *(None, None, None),
    ]
