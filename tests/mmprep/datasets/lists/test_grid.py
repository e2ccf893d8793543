"""GRID: words cut by alignments, in the layouts that the corpus and its copies have."""

import json
import logging
from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from click.testing import CliRunner

from mmprep.cli.main import main
from mmprep.datasets import spec
from mmprep.datasets.find import Found, collect
from mmprep.datasets.lists.grid import WORDS
from mmprep.errors import ConfigError, DataError
from mmprep.shards import Shards
from mmprep.storage.store import open_store
from tests.support import ROOT

REAL = ROOT.parent / "shared" / "media" / "grid_s1"
VARIANTS = ("digit", "letter", "command", "colour", "preposition", "adverb")
BBAF2N = (
    "0 23750 sil\n23750 29500 bin\n29500 34000 blue\n34000 35500 at\n35500 41000 f\n"
    "41000 47250 two\n47250 53000 now\n53000 74500 sil\n"
)


def alignment(sentence: str) -> str:
    """Words of a fifth of a second each, from the first second on."""
    words = [words[letter] for words, letter in zip(WORDS.values(), sentence, strict=True)]
    lines = ["0 25000 sil"]
    for number, word in enumerate(words):
        lines.append(f"{25_000 + 5_000 * number} {30_000 + 5_000 * number} {word}")
    return "\n".join([*lines, "55000 74500 sil", ""])


def write(raw: Path, texts: dict[str, str | bytes]) -> Path:
    for name, text in texts.items():
        (raw / name).parent.mkdir(parents=True, exist_ok=True)
        (raw / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return raw


def tree(
    raw: Path, clips: Iterable[str], place: str = "{speaker}/align", suffix: str = "mpg"
) -> Path:
    """Files of clips such as ``s1/bbaf2n``, with alignments in ``place``."""
    for clip in clips:
        speaker, sentence = clip.split("/")
        where = f"{place.format(speaker=speaker)}/{sentence}.align"
        write(raw, {f"{clip}.{suffix}": b"x", where: alignment(sentence)})
    return raw


def found(raw: Path, variant: str | None = None, **more: Any) -> Found:
    return collect(spec.load("grid", variant), raw=raw, **more)


def write_mpeg(path: Path, seconds: float = 3.0) -> Path:
    """MPEG-1 pictures and MP2 sound, as the corpus has them, small."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="mpeg") as container:
        stream = container.add_stream("mpeg1video", rate=25)
        stream.width, stream.height, stream.pix_fmt = 90, 72, "yuv420p"
        sound = container.add_stream("mp2", rate=44_100, layout="mono")
        for number in range(round(25 * seconds)):
            rgb = np.full((72, 90, 3), 20 + 2 * number, np.uint8)
            rgb[36:] = 255 - rgb[36:]
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        rate = 44_100
        t = np.arange(round(rate * seconds)) / rate
        wave = (8000 * np.sin(2 * np.pi * (300 + len(str(path)) * t) * t)).astype(np.int16)
        for start in range(0, len(wave), 1152):
            frame = av.AudioFrame.from_ndarray(
                wave[None, start : start + 1152], format="s16", layout="mono"
            )
            frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), start
            container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    return path


@pytest.mark.parametrize(
    ("variant", "label", "start"),
    [
        # Of 41,000 to 47,250 ticks the middle is 44,125, which is 1.765 s; .32 s less is 1.445 s.
        ("digit", "two", 1.445),
        ("letter", "f", 1.21),
        ("command", "bin", 0.745),
        ("colour", "blue", 0.95),
        ("preposition", "at", 1.07),
        ("adverb", "now", 1.685),
    ],
)
def test_a_clip_lies_around_the_middle_of_the_word(
    tmp_path: Path, variant: str, label: str, start: float
) -> None:
    write(tmp_path, {"s1/bbaf2n.mpg": b"x", "align/bbaf2n.align": BBAF2N})
    (row,) = found(tmp_path, variant).rows
    assert (row.key, row.label) == ("s1_bbaf2n", label)
    assert (row.start, row.end) == (start, pytest.approx(start + 0.64))
    assert row.sources == {"video": "s1/bbaf2n.mpg"}
    assert row.extra["speaker"] == "s1"
    assert row.extra["sentence"] == "bbaf2n"


def test_the_length_is_that_of_the_request_and_stays_within_the_recording(tmp_path: Path) -> None:
    write(tmp_path, {"s1/bbaf2n.mpg": b"x", "align/bbaf2n.align": BBAF2N})
    data = spec.load("grid")
    longer = replace(data, parts=replace(data.parts, clip_s=1.0))
    (row,) = collect(longer, raw=tmp_path).rows
    assert (row.start, row.end) == (1.265, 2.265)
    text = BBAF2N.replace("0 23750 sil\n23750", "0 2500 sil\n2500").replace("53000 74500 sil\n", "")
    write(tmp_path, {"align/bbaf2n.align": text})
    # The command begins at 0.1 s, and the recording ends with the adverb, at 2.12 s.
    (first,), (last,) = (found(tmp_path, name).rows for name in ("command", "adverb"))
    assert (first.start, first.end) == (0.32, 0.96)
    assert (last.start, last.end) == (1.48, 2.12)


@pytest.mark.parametrize("place", ["{speaker}/align", "align", "alignments/{speaker}"])
def test_alignments_lie_in_three_places(tmp_path: Path, place: str) -> None:
    tree(tmp_path, ["s3/bbaf2n", "s3/lwws9p"], place)
    assert [row.key for row in sorted(found(tmp_path).rows, key=lambda r: r.key)] == [
        "s3_bbaf2n",
        "s3_lwws9p",
    ]


@pytest.mark.parametrize(
    ("folder", "speaker"), [("S01", "s1"), ("s22_processed", "s22"), ("s4.mpg_vcd/video", "s4")]
)
def test_folders_of_copies_name_their_speaker(tmp_path: Path, folder: str, speaker: str) -> None:
    place = f"alignments/{speaker}/bbaf2n.align"
    write(tmp_path, {f"{folder}/bbaf2n.mpg": b"x", place: alignment("bbaf2n")})
    (row,) = found(tmp_path).rows
    assert row.extra["speaker"] == speaker


def test_the_raw_folder_itself_may_be_a_speakers(tmp_path: Path) -> None:
    raw = tmp_path / "s7"
    write(raw, {"bbaf2n.mpg": b"x", "align/bbaf2n.align": alignment("bbaf2n")})
    assert [row.key for row in found(raw).rows] == ["s7_bbaf2n"]
    with pytest.raises(ConfigError, match="lies in no folder of a speaker"):
        found(write(tmp_path / "clips", {"bbaf2n.mpg": b"x", "align/bbaf2n.align": BBAF2N}))


def test_several_speakers_have_alignments_of_their_own(tmp_path: Path) -> None:
    raw = tree(tmp_path, ["s1/bbaf2n", "s2/bbaf2n"])
    late = alignment("bbaf2n").replace("25000", "26000")
    write(raw, {"s2/align/bbaf2n.align": late})
    starts = {row.key: row.start for row in found(raw, "command").rows}
    assert starts["s2_bbaf2n"] == pytest.approx(starts["s1_bbaf2n"] + 0.02)
    (raw / "s2/align/bbaf2n.align").unlink()
    write(raw, {"align/bbaf2n.align": late})
    with pytest.raises(ConfigError, match=r"bbaf2n\.align lies in no folder .* any of s1, s2"):
        found(raw)


def test_two_alignments_of_a_clip_are_the_same(tmp_path: Path) -> None:
    raw = tree(tmp_path, ["s1/bbaf2n"])
    write(raw, {"alignments/s1/bbaf2n.align": alignment("bbaf2n")})
    assert len(found(raw).rows) == 1
    write(raw, {"alignments/s1/bbaf2n.align": BBAF2N})
    with pytest.raises(ConfigError, match="are different alignments of one clip"):
        found(raw)


def test_alignments_of_speakers_whose_clips_are_not_here_are_no_missing_clips(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    raw = tree(tmp_path, ["s2/bbaf2n", "s10/bbaf2n", "s1/bbaf2n"], "alignments/{speaker}")
    for speaker in ("s2", "s10"):
        (raw / speaker / "bbaf2n.mpg").unlink()
    clips = found(raw)
    assert ([row.key for row in clips.rows], clips.missing) == (["s1_bbaf2n"], [])
    assert "alignments without any clip of their speaker left out: s2, s10" in caplog.text


def test_a_sentence_is_in_one_split_whoever_says_it(tmp_path: Path) -> None:
    sentences = [
        f"bb{p}{letter}{digit}n" for p in "ab" for letter in "abcdefgh" for digit in "z1234"
    ]
    raw = tree(tmp_path, [f"{speaker}/{s}" for speaker in ("s1", "s2") for s in sentences])
    rows = found(raw).rows
    splits = {(row.extra["speaker"], row.extra["sentence"]): row.split for row in rows}
    assert all(splits["s1", s] == splits["s2", s] for s in sentences)
    shares = {
        split: sum(s == split for s in splits.values()) / len(rows) for split in splits.values()
    }
    assert shares["train"] == pytest.approx(0.7, abs=0.1)
    assert shares["val"] == pytest.approx(0.1, abs=0.07)
    assert shares["test"] == pytest.approx(0.2, abs=0.1)


def test_speakers_are_held_out_where_that_is_asked_for(tmp_path: Path) -> None:
    raw = tree(tmp_path, [f"s{n}/bbaf2n" for n in (1, 2, 3, 5, 20, 34)])
    rows = found(raw, "letter+speaker-independent").rows
    splits = sorted((row.split, row.extra["speaker"]) for row in rows)
    held_out = [("test", "s1"), ("test", "s2"), ("test", "s20"), ("val", "s3")]
    assert splits == sorted([*held_out, ("train", "s34"), ("train", "s5")])
    assert {row.label for row in rows} == {"f"}
    few = tree(tmp_path / "few", ["s1/bbaf2n"])
    with pytest.raises(
        ConfigError, match=r"no clip for train: lists\.speakers holds out all of s1"
    ):
        found(few, "digit+speaker-independent")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("bin", "bine", "line 2: the name bbaf2n spells bin here"),
        ("at", "ate", "line 4: the name bbaf2n spells at here"),
        ("two", "three", "spells two here"),
        ("53000 74500 sil", "53000 60000 again\n60000 74500 sil", "spells nothing more here"),
        ("47250 53000 now\n", "", "ends before the word now"),
        (BBAF2N, "", "ends before the word bin"),
        ("41000 47250 two", "41000 two", "line 6: expected <start> <end> <word>"),
        ("41000 47250 two", "41000 4x250 two", "line 6: expected"),
        ("41000 47250 two", "47250 41000 two", "line 6: expected"),
        ("41000 47250 two", "40000 47250 two", "line 6: expected"),
    ],
)
def test_alignments_that_the_name_does_not_spell_are_refused(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    write(tmp_path, {"s1/bbaf2n.mpg": b"x", "align/bbaf2n.align": BBAF2N.replace(old, new, 1)})
    with pytest.raises(DataError, match=message) as caught:
        found(tmp_path)
    assert "bbaf2n.align" in str(caught.value)


def test_short_pauses_and_windows_lines_are_no_words(tmp_path: Path) -> None:
    text = BBAF2N.replace("41000 47250", "41000 41500 sp\n41500 47250").replace("\n", "\r\n")
    write(tmp_path, {"s1/bbaf2n.mpg": b"x", "align/bbaf2n.align": text})
    (row,) = found(tmp_path).rows
    assert row.start == 1.455


def test_what_is_missing_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    raw = tree(tmp_path, ["s1/bbaf2n", "s1/lwws9p", "s1/pgizzs"])
    (raw / "s1/lwws9p.mpg").unlink()
    (raw / "s1/align/pgizzs.align").unlink()
    write(raw, {"s1/holiday.mpg": b"x"})
    with caplog.at_level(logging.WARNING):
        clips = found(raw)
    assert [row.key for row in clips.rows] == ["s1_bbaf2n"]
    assert [(failure.key, failure.cause) for failure in clips.missing] == [("s1_lwws9p", "missing")]
    assert "1 clips without an alignment left out: s1/pgizzs" in caplog.text
    assert "1 videos left out, whose names spell no sentence" in caplog.text


def test_a_folder_without_alignments_or_clips_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a", {"s1/bbaf2n.mpg": b"x"})
    with pytest.raises(ConfigError, match="has no alignments"):
        found(tmp_path / "a")
    write(tmp_path / "b", {"s1/align/bbaf2n.align": BBAF2N})
    with pytest.raises(ConfigError, match="none of the 1 clips of grid"):
        found(tmp_path / "b")
    (row,) = found(tmp_path / "a", annotations=tmp_path / "b").rows
    assert row.label == "two"
    write(tmp_path / "b", {"align/notes.align": BBAF2N})
    with pytest.raises(DataError, match="the name spells no sentence"):
        found(tmp_path / "a", annotations=tmp_path / "b")


def mmprep(*words: Any) -> Any:
    return CliRunner().invoke(main, [str(word) for word in words])


def test_a_corpus_in_its_official_layout_is_built(tmp_path: Path) -> None:
    sentences = ["bbaf2n", "lwws9p", "pgizzs", "srbe7a", "bgit4a", "lbwk1s"]
    raw = tmp_path / "raw"
    for sentence in sentences:
        write_mpeg(raw / f"s1/{sentence}.mpg")
        write(raw, {f"s1/align/{sentence}.align": alignment(sentence)})
    write(raw, {"s1/lwws9p.mpg": b""})
    out = tmp_path / "out"
    words = ["--dataset", "grid", "--variant", "colour", "--raw", raw, "--out", out]
    dial = ["--set", "audio.babble_db=-5", "--set", "frames.short_side=24", "--workers", 1]
    done = mmprep("build", *words, *dial, "--max-failed", 1)
    assert done.exit_code == 0, done.output
    assert mmprep("verify", out).exit_code == 0
    failures = (out / "failures.jsonl").read_text(encoding="utf-8")
    assert json.loads(failures)["cause"] == "empty"
    with Shards(open_store(str(out))) as shards:
        assert len(shards.index) == 5
        for at in range(5):
            record = shards.record(at)
            assert len(record["times_s"]) == 16
            assert record["region"] == "0.3,0.7,0.55,0.9"
            assert record["babble"]["ratio_db"] == -5.0
            assert record["duration_s"] == 0.64
            assert np.diff(record["times_s"]).max() == pytest.approx(0.04, abs=0.006)


@pytest.mark.skipif(not REAL.is_dir(), reason="GRID's speaker 1 is not here")
def test_the_real_corpus_of_one_speaker() -> None:
    by_variant = {variant: found(REAL, variant) for variant in VARIANTS}
    for variant, clips in by_variant.items():
        assert (len(clips.rows), clips.missing) == (1000, [])
        assert {row.label for row in clips.rows} == set(spec.load("grid", variant).classes)
        assert all(0 <= row.start < row.end <= 3 for row in clips.rows)  # type: ignore[operator]
    counts = {
        split: sum(r.split == split for r in by_variant["digit"].rows)
        for split in ("train", "val", "test")
    }
    assert counts == {"train": 698, "val": 89, "test": 213}
