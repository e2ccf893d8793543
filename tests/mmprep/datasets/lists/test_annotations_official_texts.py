"""The real official lists of data sets with texts, turns, questions, segments and features."""

import csv
import json
import shutil
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import pytest

from mmprep.datasets import spec
from mmprep.datasets.lists import Lists, read
from tests.support.mosi import write_csd

LISTS = Path(__file__).parents[5] / "shared" / "annotations"

pytestmark = pytest.mark.skipif(not LISTS.is_dir(), reason=f"no official lists in {LISTS}")


def by_split(clips):
    """Number of clips of each split and label."""
    counts = defaultdict(Counter)
    for clip in clips:
        counts[clip.split][clip.label] += 1
    return {split: dict(labels) for split, labels in counts.items()}


def official(name, folder, variant=None):
    return read(Lists(LISTS / folder, None), spec.load(name, variant))


def test_labels_of_twitter2015_are_counted(tmp_path):
    tables = official("twitter2015", "twitter2015")
    assert by_split(tables) == {
        "train": {"negative": 368, "neutral": 1883, "positive": 928},
        "val": {"negative": 149, "neutral": 670, "positive": 303},
        "test": {"negative": 113, "neutral": 607, "positive": 317},
    }
    pictures = {
        s: len({c.names["image"] for c in tables if c.split == s}) for s in by_split(tables)
    }
    assert pictures == {"train": 2101, "val": 727, "test": 674}
    assert all(clip.texts["text"].count("$T$") == 1 and clip.texts["target"] for clip in tables)
    for split in ("train", "dev", "test"):
        shutil.copy(LISTS / "twitter2015" / f"{split}.txt", tmp_path)
    assert read(Lists(tmp_path, None), spec.load("twitter2015")) == tables


@pytest.mark.parametrize(
    ("variant", "val", "test"),
    [(None, (1451, 959), (1450, 959)), ("hashtag", (1410, 1000), (1404, 1005))],
)
def test_labels_of_sarcasm_are_counted(variant, val, test):
    names = ("not sarcastic", "sarcastic")
    assert by_split(official("sarcasm", "sarcasm", variant)) == {
        "train": dict(zip(names, (11_174, 8_642), strict=True)),
        "val": dict(zip(names, val, strict=True)),
        "test": dict(zip(names, test, strict=True)),
    }


def test_seconds_of_ave_are_counted_and_one_event_has_none():
    clips = official("ave-segments", "ave")
    event_s = [float(c.extra["event_end_s"]) - float(c.extra["event_start_s"]) for c in clips]
    labelled = [sum(second != 28 for second in clip.target) for clip in clips]
    assert labelled == event_s
    assert labelled.count(0) == 1
    assert {len(clip.target) for clip in clips} == {10}
    # Videos with several rows: one span, and a class a row.
    videos = defaultdict(list)
    for clip in clips:
        videos[clip.extra["video_id"]].append(clip)
    several = [rows for rows in videos.values() if len(rows) > 1]
    assert Counter(map(len, several)) == {2: 44, 3: 1}
    assert all(len({row.label for row in rows}) == len(rows) for rows in several)
    assert all(len({row.extra["event_end_s"] for row in rows}) == 1 for rows in several)


def test_corrected_questions_are_counted(tmp_path):
    folder = tmp_path / "json_update"
    shutil.copytree(LISTS / "music-avqa" / "json_update", folder)
    (folder / "avqa-train.json").write_text("[]")
    clips = read(Lists(tmp_path, None), spec.load("music-avqa", "corrected"))
    questions = {
        s: [q for c in clips if c.split == s for q in c.questions] for s in ("val", "test")
    }
    assert {split: len(asked) for split, asked in questions.items()} == {"val": 4568, "test": 9129}
    assert Counter(clip.split for clip in clips) == {"val": 3815, "test": 6399}
    videos = {s: {c.names["video"] for c in clips if c.split == s} for s in questions}
    assert len(videos["val"] & videos["test"]) == 2296
    assert Counter(asked.group for asked in questions["test"]) == {
        "Audio Counting": 1017,
        "Audio Comparative": 594,
        "Visual Counting": 1197,
        "Visual Location": 1225,
        "Audio-Visual Existential": 988,
        "Audio-Visual Counting": 1265,
        "Audio-Visual Location": 920,
        "Audio-Visual Comparative": 1101,
        "Audio-Visual Temporal": 822,
    }
    everything = [asked for split in questions.values() for asked in split]
    assert not any("<" in asked.text or ">" in asked.text for asked in everything)
    answers = {asked.label for asked in everything}
    assert set(spec.load("music-avqa").classes) - answers == {"ten"}


def test_synthetic_questions_with_one_number_are_all_kept(tmp_path):
    for split in ("train", "test"):
        (tmp_path / f"avqa-{split}.json").write_text("[]")
    shutil.copy(LISTS / "music-avqa" / "json" / "avqa-val_fake.json", tmp_path / "avqa-val.json")
    clips = read(Lists(tmp_path, None), spec.load("music-avqa"))
    asked = [(clip.key, question.id) for clip in clips for question in clip.questions]
    assert len(asked) == len(set(asked)) == 897
    assert sum(number.endswith("_2") for _, number in asked) == 10


def test_questions_of_the_first_lists_are_the_official_number():
    fake = json.loads((LISTS / "music-avqa" / "json" / "avqa-val_fake.json").read_bytes())
    assert {entry["video_id"][:2] for entry in fake} <= {"va", "sa", "ev", "vv", "es"}
    assert sum(spec.load("music-avqa").expected.values()) == 45_867


def test_turns_of_mla_and_the_rest_of_the_release(tmp_path):
    """Evaluations of all 5,531 turns are made up here: the real ones are licensed."""
    emotions = {"Neutral": "neu", "Angry": "ang", "Sad": "sad"}
    dialogues = defaultdict(list)
    happy = 0
    for name in ("mla_train.csv", "mla_test.csv"):
        shutil.copy(LISTS / "iemocap" / name, tmp_path)
        with (LISTS / "iemocap" / name).open(newline="") as file:
            for row in csv.DictReader(file):
                happy += row["label"] == "Happy"
                emotion = emotions.get(row["label"], ("hap", "exc")[happy % 2])
                dialogues[row["utterance"].rpartition("_")[0]].append((row["utterance"], emotion))
    rest = {"neu": 1708 - 1351, "ang": 1103 - 885, "sad": 1084 - 872, "exc": 1636 - 1317}
    others = [emotion for emotion, count in rest.items() for _ in range(count)]
    for number, emotion in enumerate([*others, *["fru"] * 40, *["xxx"] * 30]):
        dialogue = f"Ses{number % 5 + 1:02d}F_impro{number % 8 + 10}"
        dialogues[dialogue].append((f"{dialogue}_F{number:03d}", emotion))
    for dialogue, turns in dialogues.items():
        place = tmp_path / f"Session{int(dialogue[3:5])}" / "dialog" / "EmoEvaluation"
        place.mkdir(parents=True, exist_ok=True)
        lines = [
            f"[{2 * n}.5000 - {2 * n + 1}.7500]\t{turn}\t{emotion}\t[2.5, 2.5]\nC-E2:\tX;\t()\n"
            for n, (turn, emotion) in enumerate(turns)
        ]
        (place / f"{dialogue}.txt").write_text("% [START_TIME ...\n\n" + "\n".join(lines))
    clips = read(Lists(None, tmp_path), spec.load("iemocap"))
    assert by_split(clips) == {
        "train": {"neutral": 1014, "happy": 977, "angry": 685, "sad": 642},
        "test": {"happy": 340, "neutral": 337, "sad": 230, "angry": 200},
        "val": {"neutral": 357, "angry": 218, "sad": 212, "happy": 319},
    }
    assert Counter(clip.split for clip in clips) == spec.load("iemocap").expected
    for number in range(1, 6):
        by_session = read(Lists(None, tmp_path), spec.load("iemocap", f"session-{number}"))
        assert len(by_session) == 5531
        assert {c.extra["session"] for c in by_session if c.split == "test"} == {f"Ses0{number}"}


def test_videos_of_mosi_are_in_the_official_folds(tmp_path):
    for path in (LISTS / "cmu-mosi").iterdir():
        shutil.copy(path, tmp_path)
    ids = [name for path in tmp_path.glob("*.txt") for name in path.read_text().split()]
    write_csd(tmp_path / "CMU_MOSI_Opinion_Labels.csd", {name: ([[1.0]], [[0, 1]]) for name in ids})
    data = replace(spec.load("cmu-mosi", "sdk"), expected={})
    clips = read(Lists(tmp_path, None), data)
    assert Counter(clip.split for clip in clips) == {"train": 52, "val": 10, "test": 31}
    assert sum(spec.load("cmu-mosi").expected.values()) == 2199
