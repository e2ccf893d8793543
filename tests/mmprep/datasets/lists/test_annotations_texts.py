"""Lists of texts with pictures: Twitter2015, Sarcasm, MVSA-Single."""

from functools import partial

import pytest

from mmprep.errors import DataError
from tests.support.listmaker import listed

HEADER = "index\t#1 Label\t#2 ImageID\t#3 String\t#3 String\n"
# The official test list names four columns and has five.
SHORT_HEADER = "index\t#1 ImageID\t#2 String\t#2 String\n"
ROWS = (
    "1\t2\t1860693.jpg\tRT @ a : $T$ is everything # MCM\tChuck Bass\n"
    "2\t0\t195984.jpg\t\"$T$ , 'New' York\tMillions For Trayvon\n"
)
FOURS = (
    "RT @ a : $T$ is everything # MCM\nChuck Bass\n1\n1860693.jpg\n"
    "\"$T$ , 'New' York\nMillions For Trayvon\n-1\n195984.jpg\n"
)


@pytest.fixture
def given(tmp_path):
    return partial(listed, tmp_path)


@pytest.mark.parametrize("header", [HEADER, SHORT_HEADER, ""])
@pytest.mark.parametrize("change", [str, lambda text: text.replace("\n", "\r\n")])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_tweet_has_its_text_its_target_and_its_picture(given, header, change, mark):
    lists = {
        "train__tsv": mark + change(header + ROWS),
        "dev__tsv": HEADER,
        "test__tsv": SHORT_HEADER,
    }
    clips = given("twitter2015", **lists)
    assert sorted(clips) == ["train-0001", "train-0002"]
    first, second = clips.values()
    assert (first.label, second.label) == ("positive", "negative")
    assert first.names == {"image": ("1860693",)}
    assert first.texts == {"text": "RT @ a : $T$ is everything # MCM", "target": "Chuck Bass"}
    # Quotation marks are letters there, as in no CSV.
    assert second.texts["text"] == "\"$T$ , 'New' York"


def test_both_forms_of_a_list_give_the_same_samples(given, tmp_path):
    tables = given("twitter2015", train__tsv=HEADER + ROWS, dev__tsv=HEADER, test__tsv=HEADER)
    for path in tmp_path.iterdir():
        path.unlink()
    assert given("twitter2015", train__txt=FOURS, dev__txt="", test__txt="") == tables


@pytest.mark.parametrize(
    "row",
    [
        "3\t3\t1.jpg\ttext\ttarget\n",
        "3\t-1\t1.jpg\ttext\ttarget\n",
        "3\t1\t1.jpg\ttext\n",
        "3\t1\t1.jpg\ttext\ttarget\tmore\n",
    ],
)
def test_a_malformed_tweet_is_named_with_its_line(given, row):
    with pytest.raises(DataError, match=r"train\.tsv, line 4"):
        given("twitter2015", train__tsv=HEADER + ROWS + row, dev__tsv="", test__tsv="")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (FOURS.replace("\n-1\n", "\n2\n"), 7),
        (FOURS.replace("Millions For Trayvon", ""), 5),
        (FOURS.rpartition("195984")[0], 5),
    ],
)
def test_lines_that_do_not_come_in_fours_are_refused(given, text, line):
    with pytest.raises(DataError, match=rf"train\.txt, line {line}"):
        given("twitter2015", train__txt=text, dev__txt="", test__txt="")


def sarcasm(given, train, variant=None):
    return given("sarcasm", variant, train__txt=train, valid2__txt="", test2__txt="")


def test_a_line_of_sarcasm_is_a_literal(given):
    line = """['910308516510011393', "it 's   \\"great\\" \\u2764 \\n😀 مرحبا ", 0, 1]\r\n"""
    (clip,) = sarcasm(given, line).values()
    assert (clip.key, clip.label) == ("910308516510011393", "sarcastic")
    assert clip.names == {"image": ("910308516510011393",)}
    assert clip.texts == {"text": 'it \'s   "great" ❤ \n😀 مرحبا '}


def test_the_last_label_counts_or_the_hashtag(given):
    line = "['1', 'so fun', 0, 1]\n"
    assert sarcasm(given, line)["1"].label == "sarcastic"
    assert sarcasm(given, line, "hashtag")["1"].label == "not sarcastic"


def test_words_that_give_the_answer_away_are_left_out_as_whole_words(given, caplog):
    caplog.set_level("INFO")
    lines = (
        "['1', 'what # irony .', 1]\n['2', 'look <url>', 1]\n"
        "['3', 'an ironical joker', 1]\n['4', 'Sarcasm !', 0]\n"
    )
    assert sorted(sarcasm(given, lines)) == ["3", "4"]
    assert "2 of 4 lines of train.txt" in caplog.text


@pytest.mark.parametrize(
    "line",
    [
        "['1', 'text']",
        "['1', 'text', 2]",
        "['1', 'text', -1]",
        "['1', 'text', True]",
        "['1', 2, 1]",
        "[1, 'text', 1]",
        "['1', 'text', 1",
        "__import__('os').abort()",
        "7",
        "(" * 5000,
    ],
)
def test_what_is_no_literal_of_a_sample_is_refused(given, line):
    with pytest.raises(DataError, match=r"train\.txt, line 2"):
        sarcasm(given, f"['9', 'text', 1]\n{line}\n")


@pytest.mark.parametrize(
    "text",
    [
        "guid,tag\n1,positive\n2,neutral\n3,negative\n4,null\n",
        "1,positive\r\n2,neutral\r\n3,negative\r\n4,\r\n",
        "ID\ttext,image\n1\tpositive,neutral\n2\tneutral,neutral\n3\tnegative,negative\n"
        "4\tpositive,negative\n",
    ],
)
def test_two_labels_are_one_unless_they_are_opposite(given, text, caplog):
    caplog.set_level("INFO")
    clips = given("mvsa-single", labelResultAll__txt=text)
    assert {key: clip.label for key, clip in clips.items()} == {
        "1": "positive",
        "2": "neutral",
        "3": "negative",
    }
    assert clips["1"].names == {"image": ("data/1", "1"), "text": ("data/1", "1")}
    assert "1 samples are left out: 1 with" in caplog.text


@pytest.mark.parametrize("row", ["5,good", "5", "five,positive", "5,positive,neutral,negative"])
def test_a_malformed_label_is_named_with_its_line(given, row):
    with pytest.raises(DataError, match=r"labelResultAll\.txt, line 3"):
        given("mvsa-single", labelResultAll__txt=f"guid,tag\n1,positive\n{row}\n")


def test_splits_of_mvsa_are_drawn_by_id(given):
    rows = [f"{n},positive\n" for n in range(1, 2001)]
    clips = given("mvsa-single", labels__csv="".join(rows))
    splits = {key: clip.split for key, clip in clips.items()}
    counts = [list(splits.values()).count(split) for split in ("train", "val", "test")]
    assert counts == [1599, 212, 189]
    fewer = given("mvsa-single", labels__csv="".join(rows[::9]))
    assert {key: clip.split for key, clip in fewer.items()}.items() <= splits.items()
