import random
import sys
from dataclasses import replace

import pytest

from mmprep.datasets import spec
from mmprep.datasets.find import collect, find, nothing_found, scan
from mmprep.datasets.lists import Listed
from mmprep.datasets.lists.youtube import key, names, parse
from mmprep.errors import ConfigError

KINETICS = spec.load("kinetics-sounds")


def clip(video="-a_bQRBEz2-", start=7, label="tap dancing", split="train"):
    named = names(video, start, start + 10, bare=True)
    return Listed(
        key=key(video, start, start + 10), label=label, split=split, names={"video": named}
    )


def where(files, listed=None, data=KINETICS):
    """The path found for the only clip, or None."""
    rows = find([listed or clip()], files, data).rows
    return rows[0].source if rows else None


@pytest.mark.parametrize(
    "path",
    [
        "-a_bQRBEz2-_000007_000017.mp4",
        "-a_bQRBEz2-_7_17.mkv",
        "-a_bQRBEz2-_000007.webm",
        "-a_bQRBEz2-_7.MP4",
        "-a_bQRBEz2-_7000_17000.mp4",
        "-a_bQRBEz2-_7.000.mp4",
        "-a_bQRBEz2-.mp4",
        "train/-a_bQRBEz2-_000007_000017.avi",
        "tap dancing/-a_bQRBEz2-_000007_000017.mp4",
        "k400/train/tap_dancing/-a_bQRBEz2-_7.mp4",
    ],
)
def test_official_names_are_found_in_any_layout(path):
    assert where([path, "other.mp4"]) == path


@pytest.mark.parametrize(
    "path",
    [
        "-a_bQRBEz2-_000008_000018.mp4",
        "-a_bQRBEz2-_000007_000017.txt",
        "-a_bQRBEz2-_000007_000017",
        "-a_bQRBEz2-_000007_000017.mp4.part",
        "-a_bQRBEz2-_000007_000017.mp4/readme.mp4",
        "x-a_bQRBEz2-_000007_000017.mp4",
    ],
)
def test_other_names_are_not(path):
    found = find([clip()], [path], KINETICS)
    assert not found.rows
    (failure,) = found.missing
    assert (failure.stage, failure.cause, failure.label) == ("find", "missing", "tap dancing")
    assert "-a_bQRBEz2-_000007_000017" in failure.message


def test_ids_are_told_apart_by_case():
    lower, upper = clip("aaaaaaaaaaa"), clip("AAAAAAAAAAA")
    files = ["aaaaaaaaaaa_7.mp4", "AAAAAAAAAAA_7.mp4"]
    assert [row.source for row in find([lower, upper], files, KINETICS).rows] == sorted(files)
    found = find([lower, upper], files[:1], KINETICS)
    assert [row.key for row in found.rows] == [lower.key]
    assert [failure.key for failure in found.missing] == [upper.key]


def test_case_gives_way_where_nothing_else_is_found():
    listed = Listed(
        key="v_HandStandPushups_g01_c01",
        label="HandstandPushups",
        split="train",
        names={"video": ("v_HandStandPushups_g01_c01",)},
    )
    path = "UCF-101/HandstandPushups/v_HandstandPushups_g01_c01.avi"
    assert where([path], listed, spec.load("ucf-101")) == path


def test_accents_taken_apart_are_put_together():
    listed = Listed(key="k", label="x", split="train", names={"video": ("caf\u00e9",)})
    assert where(["cafe\u0301.mp4"], listed) == "cafe\u0301.mp4"


def test_replacements_win_then_the_split_then_the_label_then_the_shortest():
    name = "-a_bQRBEz2-_000007_000017.mp4"
    ranked = [
        f"z/replacement_for_corrupted_k400/{name}",
        f"z/train/tap_dancing/{name}",
        f"z/train/other/{name}",
        f"z/tap dancing/{name}",
        name,
        f"a/{name}",
        f"b/{name}",
    ]
    for best in range(len(ranked)):
        rest = ranked[best:]
        random.Random(best).shuffle(rest)
        assert where(rest) == ranked[best]


def test_the_better_name_wins_over_the_better_folder():
    files = ["train/tap_dancing/-a_bQRBEz2-.mp4", "x/-a_bQRBEz2-_7.mp4"]
    assert where(files) == files[1]


def test_the_first_suffix_wins():
    listed = Listed(
        key="k", label="NEU", split="train", names=dict.fromkeys(("video", "audio"), ("c",))
    )
    files = ["AudioMP3/c.mp3", "AudioWAV_long_name/c.wav", "VideoFlash/c.flv"]
    (row,) = find([listed], files, spec.load("crema-d")).rows
    assert row.sources == {"video": "VideoFlash/c.flv", "audio": "AudioWAV_long_name/c.wav"}
    assert row.source == "VideoFlash/c.flv"


def test_a_video_is_enough_where_sound_is_optional():
    listed = Listed(
        key="k", label="NEU", split="train", names=dict.fromkeys(("video", "audio"), ("c",))
    )
    (row,) = find([listed], ["c.flv"], spec.load("crema-d")).rows
    assert row.sources == {"video": "c.flv"}
    found = find([listed], ["c.wav"], spec.load("crema-d"))
    assert (found.rows, len(found.missing)) == ([], 1)


def gesture(recording):
    place = f"class_01/{recording}"
    named = {"video": (f"{place}/sk_color", f"{place}/sk_wrapped"), "depth": (f"{place}/sk_depth",)}
    return Listed(key=f"class_01_{recording}", label="1", split="train", names=named)


def test_a_name_with_folders_matches_the_end_of_a_path():
    files = [
        f"v1/Video_data/class_01/{who}/{stream}.avi"
        for who in ("subject3_r0", "subject13_r0")
        for stream in ("sk_color", "sk_depth", "sk_wrapped")
    ]
    (row,) = find([gesture("subject3_r0")], files, spec.load("nvgesture")).rows
    assert row.sources == {"video": files[0], "depth": files[1]}


def test_warped_colour_stands_in_for_colour():
    files = [f"class_01/subject3_r0/{stream}.avi" for stream in ("sk_depth", "sk_wrapped")]
    (row,) = find([gesture("subject3_r0")], files, spec.load("nvgesture")).rows
    assert row.sources == {"video": files[1], "depth": files[0]}


def test_rows_do_not_depend_on_the_order_of_lists_or_files():
    listed = [clip(f"{n:011d}", split=("test", "train", "val")[n % 3]) for n in range(30)]
    files = [f"{n:011d}_7.mp4" for n in range(25)] + [f"x/{n:011d}_7.mp4" for n in range(25)]
    first = find(listed, files, KINETICS)
    again = find(listed[::-1], files[::-1], KINETICS)
    assert first == again
    order = [(("train", "val", "test").index(row.split), row.key) for row in first.rows]
    assert order == sorted(order)


def test_one_video_may_serve_several_rows():
    listed = [
        Listed(key=f"v_{n}", label="Cat", split="train", names={"video": ("-TCDqe327us",)})
        for n in range(2)
    ]
    assert len(find(listed, ["AVE/-TCDqe327us.mp4"], spec.load("ave")).rows) == 2


def steps_of_a_search(count):
    """Lines of Python that a search for so many clips runs."""
    ids = [f"{n:011d}" for n in range(count)]
    listed = [clip(video) for video in ids]
    files = [f"train/tap dancing/{video}_7.mp4" for video in ids]
    steps = 0

    def trace(frame, event, argument):
        nonlocal steps
        steps += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        clips = find(listed, files, KINETICS)
    finally:
        sys.settrace(before)
    assert len(clips.rows) == count
    return steps


def test_twice_the_clips_take_twice_the_steps():
    assert steps_of_a_search(800) < 2.2 * steps_of_a_search(400)


def test_a_clip_behind_an_outward_link_is_refused(tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    (tmp_path / "x.mp4").write_bytes(b"x")
    (raw / "-a_bQRBEz2-_7.mp4").symlink_to(tmp_path / "x.mp4")
    found = find([clip()], scan(raw), KINETICS)
    assert (found.rows, found.missing) == ([], [])
    (failure,) = found.refused
    assert (failure.cause, failure.source) == ("outside-raw", "-a_bQRBEz2-_7.mp4")


def test_nothing_found_tells_what_to_get_and_what_is_there():
    text = str(nothing_found([clip()], ["holiday/beach.mp4"], KINETICS, "videos"))
    assert "k400_train_path.txt" in text
    assert "-a_bQRBEz2-_000007_000017" in text
    assert "1 files, such as holiday/beach.mp4" in text
    assert "--raw videos" in text


def test_collect_refuses_a_folder_without_a_single_clip(tmp_path):
    (tmp_path / "vggsound.csv").write_text("---g-f_I2yQ,1,people marching,test\n")
    with pytest.raises(ConfigError, match="none of the 1 clips of vggsound"):
        collect(spec.load("vggsound"), raw=tmp_path)
    (tmp_path / "---g-f_I2yQ_000001.mp4").write_bytes(b"x")
    (row,) = collect(spec.load("vggsound"), raw=tmp_path).rows
    assert row.source == "---g-f_I2yQ_000001.mp4"


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("-3Mwkq-7TV4_2", ("-3Mwkq-7TV4", 2)),
        ("-_rX15rXYSk_125", ("-_rX15rXYSk", 125)),
        ("--4-0ihtnBU_000058_000068", ("--4-0ihtnBU", 58)),
        ("---g-f_I2yQ_000001.mp4", ("---g-f_I2yQ", 1)),
        ("short_1", None),
        ("-3Mwkq-7TV4", None),
        ("-3Mwkq-7TV4_x", None),
    ],
)
def test_ids_are_the_first_eleven_characters(name, place):
    assert parse(name) == place


def test_a_name_without_times_carries_the_listed_ones():
    files = ["-a_bQRBEz2-.mp4"]
    listed = replace(clip(), span=(7.0, 17.0))
    assert find([listed], files, KINETICS).rows[0].listed == (7.0, 17.0)
    for name in ("-a_bQRBEz2-_7.mp4", "-a_bQRBEz2-_000007_000017.mp4", "-a_bQRBEz2-_7.000.mp4"):
        assert find([listed], [name], KINETICS).rows[0].listed is None
