"""IEMOCAP's folders of evaluations and transcripts, and the lists of its splits."""

import dataclasses

import pytest

from mmprep.datasets import spec
from mmprep.datasets.lists import Lists, read
from mmprep.errors import ConfigError, DataError

EVALUATION = """% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]

[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]
C-E2:\tNeutral;\t()
A-E3:\tval 3; act 2; dom  2;\t()

[10.0100 - 11.3925]\tSes01F_impro01_M000\texc\t[4.0000, 3.5000, 2.5000]
C-E2:\tExcited;\t()

[12.0000 - 13.0000]\tSes01F_impro01_F001\txxx\t[2.5000, 2.5000, 2.5000]
[13.5000 - 14.0000]\tSes01F_impro01_M001\tfru\t[2.5000, 2.5000, 2.5000]
"""
TRANSCRIPT = """Ses01F_impro01_F000 [006.2901-008.2357]: Excuse me.
M: [BREATHING]
Ses01F_impro01_M000 [010.0100-011.3925]: Oh, really?  Yes: caf\u00e9 [LAUGHTER]
Ses01F_impro01_MXX0 [011.4000-011.9000]: Hm.
"""


def release(folder, dialogue="Ses01F_impro01", evaluation=EVALUATION, transcript=TRANSCRIPT):
    """The texts of one dialogue in the official layout; returns its session's folder."""
    place = folder / f"Session{int(dialogue[3:5])}" / "dialog"
    for kind, text in (("EmoEvaluation", evaluation), ("transcriptions", transcript)):
        (place / kind).mkdir(parents=True, exist_ok=True)
        (place / kind / f"{dialogue}.txt").write_text(text, encoding="utf-8")
    return place


def turns(raw, variant="session-1", annotations=None):
    data = dataclasses.replace(spec.load("iemocap", variant), expected={})
    return {clip.key: clip for clip in read(Lists(annotations, raw), data)}


def test_a_turn_has_its_times_its_words_and_its_dialogue(tmp_path):
    release(tmp_path)
    clips = turns(tmp_path)
    assert sorted(clips) == ["Ses01F_impro01_F000", "Ses01F_impro01_M000"]
    clip = clips["Ses01F_impro01_M000"]
    assert (clip.label, clip.split, clip.start, clip.end) == ("happy", "test", 10.01, 11.3925)
    assert clip.names == {
        "video": ("avi/DivX/Ses01F_impro01", "avi/Ses01F_impro01"),
        "audio": ("dialog/wav/Ses01F_impro01",),
    }
    assert clip.texts == {"text": "Oh, really?  Yes: caf\u00e9 [LAUGHTER]"}
    assert clip.extra == {"session": "Ses01", "speaker": "M", "emotion": "exc"}


def test_stray_files_of_a_mac_and_files_of_single_judges_are_not_read(tmp_path):
    place = release(tmp_path)
    stray = b"\x00\x05\x16\x07Mac OS X\xff\xfe"
    (place / "EmoEvaluation" / "._Ses01F_impro01.txt").write_bytes(stray)
    (place / "transcriptions" / "._Ses01F_impro01.txt").write_bytes(stray)
    judges = place / "EmoEvaluation" / "Categorical"
    judges.mkdir()
    line = "[1.0 - 2.0]\tSes01F_impro01_F009\tsad\t[1.0]\n"
    (judges / "Ses01F_impro01_e2_cat.txt").write_text(line)
    assert len(turns(tmp_path)) == 2


def test_a_transcript_in_latin_1_is_read(tmp_path):
    place = release(tmp_path)
    (place / "transcriptions" / "Ses01F_impro01.txt").write_bytes(TRANSCRIPT.encode("latin-1"))
    assert turns(tmp_path)["Ses01F_impro01_M000"].texts["text"].endswith("caf\u00e9 [LAUGHTER]")


def test_a_turn_without_a_transcript_has_no_text(tmp_path):
    release(tmp_path, transcript="")
    assert turns(tmp_path)["Ses01F_impro01_F000"].texts == {}


def test_each_variant_tests_another_session(tmp_path):
    for n in range(1, 6):
        old, new = "Ses01F_impro01", f"Ses0{n}F_impro01"
        release(tmp_path, new, EVALUATION.replace(old, new), TRANSCRIPT.replace(old, new))
    for n in range(1, 6):
        split_of = {key[:5]: clip.split for key, clip in turns(tmp_path, f"session-{n}").items()}
        following = n % 5 + 1
        assert split_of.pop(f"Ses0{n}") == "test"
        assert split_of.pop(f"Ses0{following}") == "val"
        assert list(split_of.values()) == ["train"] * 3


@pytest.mark.parametrize(
    "row",
    [
        "Ses01F_impro01_F000.mp4 [split|sign] Excuse me, Happy. [split|sign] Neutral",
        "utterance,label\r\nSes01F_impro01_F000,Neutral",
    ],
)
def test_turns_in_neither_list_of_mla_are_val(tmp_path, row):
    release(tmp_path / "raw")
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "my_train_iemo.txt").write_text(row + "\n")
    (lists / "my_test_iemo.txt").write_text("")
    clips = turns(tmp_path / "raw", None, lists)
    assert {key: clip.split for key, clip in clips.items()} == {
        "Ses01F_impro01_F000": "train",
        "Ses01F_impro01_M000": "val",
    }
    assert clips["Ses01F_impro01_F000"].texts == {"text": "Excuse me."}


def test_lists_decide_labels_and_name_turns_that_the_release_lacks(tmp_path, caplog):
    release(tmp_path)
    (tmp_path / "mla_train.csv").write_text("Ses01F_impro01_F000,Sad\nSes02F_impro01_F000,Happy\n")
    (tmp_path / "mla_test.csv").write_text("Ses01F_impro01_M000,Happy\n")
    clips = turns(tmp_path, None)
    assert clips["Ses01F_impro01_F000"].label == "sad"
    assert "1 turns have another label" in caplog.text
    # Without times a turn cannot be cut out: it is looked for as a file, and missed by that name.
    absent = clips["Ses02F_impro01_F000"]
    assert absent.names == {"video": ("Ses02F_impro01_F000",)}
    assert (absent.start, absent.end) == (None, None)


@pytest.mark.parametrize("row", ["Ses01F_impro01_F000,Excited", "Ses01F_impro01_F000", "clip,Sad"])
def test_a_malformed_line_of_a_list_is_named(tmp_path, row):
    release(tmp_path)
    (tmp_path / "mla_train.csv").write_text(f"utterance,label\n{row}\n")
    (tmp_path / "mla_test.csv").write_text("")
    with pytest.raises(DataError, match=r"mla_train\.csv, line 2"):
        turns(tmp_path, None)


def test_a_folder_that_is_not_the_release_is_named_with_what_it_lacks(tmp_path):
    with pytest.raises(ConfigError, match=r"dialog/EmoEvaluation/Ses\*\.txt"):
        turns(tmp_path)
