import numpy as np
import pytest
from matplotlib.image import imread

from mmprep.clips.parts.flow import encode
from mmprep.config import FlowConfig
from mmprep.errors import DataError, MmprepError, UnknownName
from mmprep.inspection.picture import draw
from mmprep.inspection.picture.header import chips, facts
from mmprep.inspection.picture.motion import colours, fields_of, wheel
from mmprep.inspection.picture.strip import evenly_spaced
from mmprep.inspection.picture.view import View, nearest
from tests.support.shardmaker import Recipe, make_shards


def _height(png: bytes, tmp_path) -> int:
    path = tmp_path / "sample.png"
    path.write_bytes(png)
    height, width = imread(path).shape[:2]
    assert width == 1600
    return height


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(),
        Recipe(parts=("frames",)),
        Recipe(parts=("spectrogram",)),
        Recipe(parts=("flow",), fields=3),
        Recipe(parts=("frames", "spectrogram", "difference", "depth")),
        Recipe(size=(28, 28), frames=1, parts=("frames", "spectrogram")),
        Recipe(size=(36, 64), frames=16, fps=30),
    ],
    ids=["usual", "frames", "spectrogram", "flow", "all but flow", "digit", "portrait at 30 fps"],
)
def test_any_subset_of_parts_gives_a_picture(tmp_path, recipe):
    shards = make_shards(tmp_path / "set", recipe)

    assert _height(draw(shards, "clip_0003"), tmp_path) > 400


def test_each_part_adds_a_panel(tmp_path):
    heights = [
        _height(draw(make_shards(tmp_path / str(i), Recipe(parts=parts)), "clip_0000"), tmp_path)
        for i, parts in enumerate([("frames",), ("frames", "depth"), ("frames", "depth", "flow")])
    ]

    assert heights == sorted(set(heights))


def test_a_record_that_says_almost_nothing_is_enough(tmp_path):
    words = ("sources", "fps", "times_s", "size", "audio", "checks", "decoder")
    absent = dict.fromkeys(("start", "end", "duration_s", "source_duration_s", *words))
    shards = make_shards(tmp_path / "set", **absent)

    assert _height(draw(shards, "clip_0000"), tmp_path) > 400


def test_babble_is_named_under_the_key(tmp_path):
    mixed = {"ratio_db": -5.0, "clips": ["a", "b", "c"], "gain": 0.9}
    for babble, shown in ((mixed, "-5 dB, 3 clips"), (None, None)):
        more = {} if babble is None else {"babble": babble}
        with make_shards(tmp_path / str(shown), **more) as shards:
            assert dict(facts(View.at(shards, 0))).get("own sound above babble") == shown


def test_the_same_sample_gives_the_same_bytes(tmp_path):
    shards = make_shards(tmp_path, Recipe(parts=("frames",), frames=2))

    assert draw(shards, "clip_0002") == draw(shards, "clip_0002")


def test_silence_and_values_without_end_are_drawn(tmp_path, monkeypatch):
    values = np.full((257, 20), -16.1, np.float16)
    values[0] = -np.inf
    monkeypatch.setattr("tests.support.shardmaker._sound", lambda recipe, i: values)
    shards = make_shards(tmp_path / "set", Recipe(parts=("spectrogram",)))

    assert _height(draw(shards, "clip_0000"), tmp_path) > 400


def test_an_unknown_key_offers_the_nearest(tmp_path):
    shards = make_shards(tmp_path)

    with pytest.raises(
        UnknownName, match=r"no sample 'clip_003'; did you mean .*clip_0003"
    ) as told:
        draw(shards, "clip_003")

    assert told.value.exit_code == 2
    assert "clip_0000" in nearest(shards.index, "nothing like it")


@pytest.mark.parametrize("key", ["", "é" * 200, "*"])
def test_odd_keys_are_unknown(tmp_path, key):
    shards = make_shards(tmp_path)

    with pytest.raises(UnknownName):
        draw(shards, key)


def test_a_damaged_picture_is_bad_data(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.support.shardmaker._pictures", lambda recipe, i: [b"not a picture"])
    shards = make_shards(tmp_path, Recipe(parts=("frames",)))

    with pytest.raises(DataError, match="clip_0000: frames 0 is no JPEG"):
        draw(shards, "clip_0000")


def test_a_changed_byte_in_a_shard_is_noticed(tmp_path):
    shards = make_shards(tmp_path, Recipe(parts=("frames",)))
    member = shards.index.members(0)["frames"][4]
    with (tmp_path / "train/000000.tar").open("r+b") as file:
        file.seek(member.offset + 100)
        file.write(b"\xff\x00\xff")

    with pytest.raises(MmprepError, match=r"clip_0000\.frame04\.jpg does not fit its checksum"):
        draw(shards, "clip_0000")


def test_twelve_of_eighty_are_evenly_spaced():
    chosen = evenly_spaced(80)

    assert len(chosen) == 12
    assert (chosen[0], chosen[-1]) == (0, 79)
    assert set(np.diff(chosen)) <= {7, 8}
    assert evenly_spaced(12) == list(range(12))
    assert evenly_spaced(1) == [0]


def test_chips_put_warnings_first_and_count_damage():
    said = list(chips({"silent": False, "damaged": 3, "looped": True, "upside_down": True}))

    assert [ok for _, ok in said] == [False, False, False, True]
    assert ("3 damaged packets", False) in said
    assert ("audible", True) in said
    assert ("upside_down", False) in said


def test_fields_come_back_from_stacked_planes():
    bound = FlowConfig().bound
    rng = np.random.default_rng(0)
    fields = rng.uniform(-bound, bound, (2, 4, 6, 2)).astype(np.float32)
    planes = [encode(field[..., axis], bound) for field in fields for axis in (0, 1)]

    found = fields_of(np.concatenate(planes), 2, bound)

    np.testing.assert_allclose(found, fields, atol=bound / 254 + 1e-5)


def test_hue_is_direction_and_white_is_still():
    # Right is red (hue 0), down a quarter turn further, left opposite to red: cyan; still is white.
    field = np.array([[[5, 0], [0, 5], [-5, 0], [0, 0]]], np.float32)

    found = colours(field, 5.0)[0]

    np.testing.assert_allclose(found, [[1, 0, 0], [0.5, 1, 0], [0, 1, 1], [1, 1, 1]], atol=1e-6)


def test_the_wheel_has_the_colours_of_the_fields():
    disc = wheel(101)

    assert disc[0, 0, 3] == 0  # clear in the corner
    np.testing.assert_allclose(disc[50, 50], [1, 1, 1, 1], atol=1e-6)
    np.testing.assert_allclose(disc[50, 98, :3], [1, 0.04, 0.04], atol=1e-6)


def test_a_view_reads_only_the_parts_asked_for(tmp_path):
    view = View.at(make_shards(tmp_path), 2, ["spectrogram"])

    assert list(view.members) == ["spectrogram"]
    assert (view.key, view.split) == ("clip_0004", "train")
    assert view.record["key"] == view.key
