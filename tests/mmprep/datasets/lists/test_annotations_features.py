"""Files of CMU-MOSI that are lists and features at once: pickles, and the SDK's sequences."""

import pickle

import numpy as np
import pytest

from mmprep.datasets import spec
from mmprep.datasets.lists import Lists, read
from mmprep.errors import ConfigError, DataError
from tests.support.mosi import write_csd, write_pickle

SCORES = {"train": [-2.4, 0.0, 1.5], "valid": [2.5], "test": [-0.2, 3.0]}
FOLDS = """from somewhere import nothing
standard_train_fold=['2iD-tVS8NPw', '_dI--eQ6qVU']
standard_valid_fold = ['03bSnISJMiM']
standard_test_fold=["tmZoasNr4rU"]
raise SystemExit("executed")
"""


def utterances(raw, variant=None, annotations=None):
    return {c.key: c for c in read(Lists(annotations, raw), spec.load("cmu-mosi", variant))}


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_row_of_the_pickle_is_an_utterance(tmp_path, protocol):
    write_pickle(tmp_path / "mosi_data.pkl", SCORES, protocol=protocol)
    clips = list(utterances(tmp_path).values())
    assert [clip.split for clip in clips] == ["train"] * 3 + ["val"] + ["test"] * 2
    # Of two whole numbers equally near, the even one.
    assert [clip.label for clip in clips] == ["-2", "0", "2", "2", "0", "3"]
    assert [clip.target for clip in clips] == [
        (pytest.approx(score, abs=1e-6),) for scores in SCORES.values() for score in scores
    ]
    last = clips[-1]
    assert last.names == {
        "speech": ("mosi_data#test/audio/1",),
        "face": ("mosi_data#test/vision/1",),
        "words": ("mosi_data#test/text/1",),
    }
    assert last.extra == {"video_id": "-te_0000000"}
    assert last.key.startswith("-te_0000000_1_5_2_25-")


def test_the_other_pickle_is_the_unaligned_one(tmp_path):
    write_pickle(tmp_path / "mosi_data_noalign.pkl", SCORES)
    clips = utterances(tmp_path, "unaligned")
    assert next(iter(clips.values())).names["speech"] == ("mosi_data_noalign#train/audio/0",)
    with pytest.raises(ConfigError, match=r"needs the list mosi_data\.pkl"):
        utterances(tmp_path)


@pytest.mark.parametrize(
    ("ids", "keys", "videos"),
    [
        (["03bSnISJMiM[4]", "_dI--eQ6qVU[10]"], ["03bSnISJMiM_4", "_dI--eQ6qVU_10"], 2),
        (["03bSnISJMiM$_$4", "03bSnISJMiM$_$5"], ["03bSnISJMiM_4", "03bSnISJMiM_5"], 1),
        (["same", "same"], ["same", "same_2"], 1),
        ([b"a", b"b"], ["a", "b"], 2),
    ],
)
def test_ids_are_read_in_all_their_forms(tmp_path, ids, keys, videos):
    scores = {"train": [1.0, 2.0], "valid": [], "test": []}
    path = write_pickle(tmp_path / "mosi_data.pkl", scores)
    content = pickle.loads(path.read_bytes())
    content["train"]["id"] = ids
    path.write_bytes(pickle.dumps(content))
    clips = utterances(tmp_path)
    assert list(clips) == keys
    assert len({clip.extra["video_id"] for clip in clips.values()}) == videos


def test_a_pickle_without_ids_has_rows_for_keys(tmp_path):
    path = write_pickle(tmp_path / "mosi_data.pkl", SCORES)
    content = pickle.loads(path.read_bytes())
    for split in content.values():
        del split["id"]
    path.write_bytes(pickle.dumps(content))
    assert list(utterances(tmp_path))[:2] == ["train-00000", "train-00001"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"audio": np.zeros((2, 4, 5))}, "'audio': 2"),
        ({"labels": np.zeros((3, 6))}, "6 numbers"),
        ({"labels": np.full((3, 1, 1), 5.0)}, "a score of 5"),
        ({"labels": np.full((3, 1, 1), np.nan)}, "a score of nan"),
        ({"labels": ["good"] * 3}, "labels"),
        ({"id": [[], [], []]}, "labels and id as arrays"),
        ({"id": [b"\xff\xfe"] * 3}, "labels and id as arrays"),
        ({"text": None}, "labels and id as arrays"),
    ],
)
def test_another_file_of_that_name_is_refused(tmp_path, change, message):
    write_pickle(tmp_path / "mosi_data.pkl", dict.fromkeys(SCORES, [1.0] * 3), **change)
    with pytest.raises(DataError, match=message):
        utterances(tmp_path)


def test_a_pickle_that_would_execute_code_is_refused_and_does_not(tmp_path):
    mark = tmp_path / "executed"

    class Hostile:
        def __reduce__(self):
            return open, (str(mark), "w")

    (tmp_path / "mosi_data.pkl").write_bytes(pickle.dumps({"train": Hostile()}))
    with pytest.raises(DataError, match=r"mosi_data\.pkl"):
        utterances(tmp_path)
    assert not mark.exists()


def scores_of(folder):
    """Scores of four videos of the folds and of one that none has."""
    times = [[0.0, 2.5], [2.5, 4.0]]
    videos = ("2iD-tVS8NPw", "_dI--eQ6qVU", "03bSnISJMiM", "tmZoasNr4rU", "stranger")
    table = {name: ([[n - 2.0], [0.6]], times) for n, name in enumerate(videos)}
    return write_csd(folder / "CMU_MOSI_Opinion_Labels.csd", table)


def test_segments_have_their_times_in_the_video(tmp_path):
    scores_of(tmp_path)
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "cmu_mosi_std_folds.py").write_text(FOLDS)
    clips = utterances(tmp_path, "sdk", lists)
    assert len(clips) == 8
    assert [clip.split for clip in clips.values()].count("train") == 4
    clip = clips["03bSnISJMiM_1"]
    assert (clip.split, clip.start, clip.end, clip.label) == ("val", 2.5, 4.0, "1")
    assert clip.target == (pytest.approx(0.6),)
    assert clip.names["words"] == ("CMU_MOSI_TimestampedWordVectors#03bSnISJMiM",)


def test_folds_are_read_from_lists_of_ids_too(tmp_path, caplog):
    scores_of(tmp_path)
    ids = {"train": "2iD-tVS8NPw\n_dI--eQ6qVU\n", "valid": "03bSnISJMiM\n", "test": "away\n"}
    for split, text in ids.items():
        (tmp_path / f"{split}_video_ids.txt").write_text(text)
    clips = utterances(tmp_path, "sdk")
    assert {clip.split for clip in clips.values()} == {"train", "val"}
    assert "1 videos of the folds have no scores: away" in caplog.text


@pytest.mark.parametrize(
    "text",
    ["standard_train_fold = []", FOLDS.replace("['03b", "['03b' + "), "standard_train_fold ="],
)
def test_a_file_that_assigns_no_folds_is_refused(tmp_path, text):
    scores_of(tmp_path)
    (tmp_path / "cmu_mosi_std_folds.py").write_text(text)
    with pytest.raises(DataError, match=r"cmu_mosi_std_folds\.py"):
        utterances(tmp_path, "sdk")


def test_scores_that_are_no_sequence_are_refused(tmp_path):
    (tmp_path / "cmu_mosi_std_folds.py").write_text(FOLDS)
    (tmp_path / "CMU_MOSI_Opinion_Labels.csd").write_bytes(b"<html>not found</html>")
    with pytest.raises(DataError, match="Opinion_Labels"):
        utterances(tmp_path, "sdk")
