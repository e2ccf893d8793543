"""Lists of questions: templates, answers, types, and one clip for all questions about a video."""

import json

import pytest

from mmprep.datasets import spec
from mmprep.datasets.lists import Lists, read
from mmprep.errors import ConfigError, DataError


def question(video="00000093", number=12, **change):
    return {
        "video_id": video,
        "question_id": number,
        "type": '["Audio-Visual", "Existential"]',
        "question_content": "Is the <Object> on the <LR> louder than the <Object>?",
        "templ_values": '["ukulele", "left", "electric_bass"]',
        "question_deleted": 0,
        "anser": "yes",
        **change,
    }


def write(folder, *train, val=(), test=()):
    folder.mkdir(parents=True, exist_ok=True)
    for split, entries in (("train", train), ("val", val), ("test", test)):
        (folder / f"avqa-{split}.json").write_text(json.dumps(entries), encoding="utf-8-sig")


def clips(folder, variant=None):
    data = spec.load("music-avqa", variant)
    return {clip.key: clip for clip in read(Lists(folder, None), data)}


def test_a_template_is_filled_in_and_a_type_is_a_group(tmp_path):
    write(tmp_path, question())
    (clip,) = clips(tmp_path).values()
    assert (clip.key, clip.label, clip.names) == ("train-00000093", "", {"video": ("00000093",)})
    (asked,) = clip.questions
    assert asked.text == "Is the ukulele on the left louder than the electric_bass?"
    assert (asked.id, asked.label, asked.group) == ("12", "yes", "Audio-Visual Existential")


def test_questions_about_one_video_share_a_clip_in_each_split(tmp_path):
    write(
        tmp_path,
        question(),
        question("va00003871"),
        question(number=13, anser="no"),
        val=[question(number=14)],
    )
    found = {key: [q.id for q in clip.questions] for key, clip in clips(tmp_path).items()}
    assert found == {
        "train-00000093": ["12", "13"],
        "train-va00003871": ["12"],
        "val-00000093": ["14"],
    }


def test_deleted_questions_are_left_out_and_counted(tmp_path, caplog):
    caplog.set_level("INFO")
    write(tmp_path, question(), question(number=13, question_deleted=1))
    (clip,) = clips(tmp_path).values()
    assert [asked.id for asked in clip.questions] == ["12"]
    assert "1 questions of avqa-train.json are marked as deleted" in caplog.text


def test_one_number_for_two_questions_of_a_video_becomes_two(tmp_path):
    write(tmp_path, question(), question(anser="no"), question(anser="no"))
    (clip,) = clips(tmp_path).values()
    assert [asked.id for asked in clip.questions] == ["12", "12_2", "12_3"]
    assert [asked.label for asked in clip.questions] == ["yes", "no", "no"]


def test_first_and_corrected_lists_lie_beside_each_other(tmp_path):
    write(tmp_path / "data" / "json", question(number=1))
    write(tmp_path / "data" / "json_update", question(number=2))
    for variant, number in ((None, "1"), ("corrected", "2")):
        for folder in (tmp_path, tmp_path / "data"):
            (clip,) = clips(folder, variant).values()
            assert clip.questions[0].id == number
    (clip,) = clips(tmp_path / "data" / "json_update", "corrected").values()
    assert clip.questions[0].id == "2"
    with pytest.raises(ConfigError, match="json_update/avqa-train"):
        clips(tmp_path / "data" / "json", "corrected")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"anser": "guitar"}, "'guitar' is none of the 42 answers"),
        ({"templ_values": '["ukulele"]'}, "templ_values"),
        ({"templ_values": '["a", "b", "c", "d"]'}, "templ_values"),
        ({"templ_values": "ukulele"}, "question 1"),
        ({"type": "Audio"}, "question 1"),
        ({"question_content": None}, "question 1"),
    ],
)
def test_a_malformed_question_is_named(tmp_path, change, message):
    write(tmp_path, question(**change))
    with pytest.raises(DataError, match=message):
        clips(tmp_path)


@pytest.mark.parametrize("text", ["{}", "[1]", "[", "<html>"])
def test_what_is_no_list_of_questions_is_refused(tmp_path, text):
    write(tmp_path)
    (tmp_path / "avqa-train.json").write_text(text)
    with pytest.raises(DataError, match=r"avqa-train\.json"):
        clips(tmp_path)


def test_a_key_that_is_not_there_is_named(tmp_path):
    entry = question()
    entry["answer"] = entry.pop("anser")
    write(tmp_path, entry)
    with pytest.raises(DataError, match="anser"):
        clips(tmp_path)
