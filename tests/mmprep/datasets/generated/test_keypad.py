"""The `keypad` data set."""

import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from mmprep.datasets.generated import keypad
from mmprep.errors import ConfigError, UnknownName
from mmprep.manifest import read_csv

CLIPS = 6
FIRST = keypad.Parameters(limit=CLIPS)


class Killed(Exception):
    """Stands for what ends a run from outside."""


@pytest.fixture(scope="module")
def labels():
    return load_digits().target


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """The first clips with the default noise, as one thread writes them."""
    folder = tmp_path_factory.mktemp("keypad")
    keypad.write_clips(folder, FIRST)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def decoded(clip: Path) -> tuple[np.ndarray, np.ndarray]:
    """Luma (frames, height, width) and mono samples."""
    import av

    with av.open(str(clip)) as container:
        frames = [f.to_ndarray(format="yuv420p")[: f.height] for f in container.decode(video=0)]
    with av.open(str(clip)) as container:
        samples = [f.to_ndarray() for f in container.decode(audio=0)]
    return np.stack(frames), np.concatenate(samples, axis=1)[0]


def loudest(sound: np.ndarray, rate_hz: int) -> set[int]:
    """The two strongest frequencies of one second, whose bins are whole Hz."""
    spectrum = np.abs(np.fft.rfft(sound[:rate_hz]))
    return set(np.argsort(spectrum)[-2:].tolist())


@pytest.mark.parametrize(
    ("digit", "pair"),
    [
        (1, {697, 1209}),
        (2, {697, 1336}),
        (3, {697, 1477}),
        (4, {770, 1209}),
        (5, {770, 1336}),
        (6, {770, 1477}),
        (7, {852, 1209}),
        (8, {852, 1336}),
        (9, {852, 1477}),
        (0, {941, 1336}),
    ],
)
def test_a_digit_sounds_like_its_telephone_key(digit, pair):
    assert loudest(keypad.tone(digit, 16_000, 1), 16_000) == pair


def test_tone_by_hand():
    # Key 1 at 8 kHz, sample 1: sin(2 pi 697/8000) + sin(2 pi 1209/8000) = .520488 + .813152.
    assert keypad.tone(1, 8000, 0.001)[:2] == pytest.approx([0, 1.333640], abs=1e-5)


def test_noise_counts_in_amplitudes_and_stays_within_the_sound_range():
    silence = np.zeros(100_000, np.float32)

    noisy = keypad.add_noise(np.random.default_rng(0), silence, noise=3)

    assert noisy.std() == pytest.approx(3 / 20, rel=0.01)  # scaled by 2 + 6 * 3
    assert np.abs(noisy).max() < 1
    wave = keypad.tone(7, 16_000, 1)
    assert keypad.add_noise(np.random.default_rng(0), wave, noise=0) == pytest.approx(wave / 2)


@pytest.mark.parametrize("seed", range(20))
def test_a_path_keeps_its_speed_and_never_leaves_the_room(seed):
    places = keypad.path(np.random.default_rng(seed), 200, room=64)

    assert places.shape == (200, 2)
    assert places.min() >= 0
    assert places.max() <= 64
    steps = np.abs(np.diff(places, axis=0))
    straight = np.median(steps, axis=0)  # a step is shorter only where a wall throws it back
    assert (steps <= straight + 1e-3).all()
    low, high = keypad.SPEED
    assert low - 0.01 <= np.hypot(*straight) * keypad.FPS <= high + 0.01


def test_a_frame_shows_the_digit_at_its_corner():
    corners = np.array([[8, 40], [8, 41]], np.float32)

    frames = keypad.draw_frames(np.random.default_rng(0), np.ones((8, 8), np.float32), corners)

    lit = np.zeros((keypad.SIDE, keypad.SIDE), bool)
    lit[8:40, 40:72] = True  # 8 cells of 4 pixels
    assert frames.dtype == np.uint8
    assert frames[0][lit].mean() > 150
    assert frames[0][~lit].mean() < 60
    # The grain stands still: only the edges that moved by a pixel differ.
    moved = np.flatnonzero((frames[0] != frames[1]).any(axis=0))
    assert set(moved) <= {*range(36, 46), *range(68, 78)}


def test_each_picture_is_in_exactly_one_split(labels):
    clips = keypad.plan(labels, keypad.Parameters())

    assert len(labels) == keypad.COUNT
    assert sorted(clip.number for clip in clips) == list(range(keypad.COUNT))
    assert all(clip.digit == labels[clip.number] for clip in clips)
    assert Counter(clip.split for clip in clips) == {"train": 897, "val": 300, "test": 600}


def test_held_out_splits_have_as_many_of_every_digit(labels):
    clips = keypad.plan(labels, keypad.Parameters(seed=3, test=40))

    held = Counter((clip.split, clip.digit) for clip in clips if clip.split != "train")
    assert held == {(s, digit): n for s, n in (("val", 30), ("test", 40)) for digit in range(10)}


@pytest.mark.parametrize("limit", [6, 60, 61, 300, 1000])
def test_the_first_clips_are_balanced(labels, limit):
    clips = keypad.plan(labels, keypad.Parameters(seed=1))[:limit]

    sizes = Counter(clip.split for clip in clips)
    assert sizes["train"] == pytest.approx(limit / 2, abs=1.5)
    assert sizes["val"] == pytest.approx(limit / 6, abs=1)
    assert sizes["test"] == pytest.approx(limit / 3, abs=1)
    for split in sizes:
        digits = Counter(clip.digit for clip in clips if clip.split == split)
        assert max(digits.values()) - min(digits[digit] for digit in range(10)) <= 1


def test_splits_follow_from_the_seed(labels):
    four, five = keypad.Parameters(seed=4), keypad.Parameters(seed=5)

    assert keypad.plan(labels, four) == keypad.plan(labels, four)
    assert keypad.plan(labels, four) != keypad.plan(labels, five)


def test_noise_is_spread_evenly_over_its_range_on_a_log_scale():
    parameters = keypad.Parameters(noise=(2.0, 32.0))

    noises = np.array([parameters.noise_of(number) for number in range(keypad.COUNT)])

    # Four doublings from 2 to 32, with a quarter of the clips in each.
    share, _ = np.histogram(np.log2(noises), bins=[1, 2, 3, 4, 5])
    assert share.sum() == keypad.COUNT
    assert share / keypad.COUNT == pytest.approx(np.full(4, 0.25), abs=0.03)


def test_one_number_is_the_noise_of_all_clips():
    same = keypad.Parameters(noise=(3.0, 3.0))

    assert {same.noise_of(number) for number in range(20)} == {3.0}


def test_the_noise_of_a_clip_does_not_change_its_pictures(raw, tmp_path):
    keypad.write_clips(tmp_path, keypad.Parameters(noise=(0.5, 0.5), limit=1))

    (clip,) = tmp_path.rglob("*.mp4")
    loud = raw / clip.relative_to(tmp_path)
    assert np.array_equal(decoded(clip)[0], decoded(loud)[0])
    assert not np.array_equal(decoded(clip)[1], decoded(loud)[1])


def test_the_manifest_has_the_noise_that_a_clip_was_made_with(raw):
    for row in read_csv(raw / "keypad.csv"):
        _, sound = decoded(raw / row.source)
        noise = float(row.extra["noise"])
        # Two sines of amplitude 1 and the noise, scaled by 2 + 6 times the noise.
        power = (1 + noise**2) / (2 + 6 * noise) ** 2
        assert 3 <= noise <= 60
        assert np.square(sound[1000:30_000]).mean() == pytest.approx(power, rel=0.1)


def test_the_manifest_lists_every_clip(raw):
    rows = read_csv(raw / "keypad.csv")

    assert len(rows) == CLIPS
    assert {row.source for row in rows} == {name for name in contents(raw) if name.endswith("mp4")}
    for row in rows:
        assert row.source == f"{row.split}/{row.label}/{row.key}.mp4"


def test_a_clip_is_two_seconds_of_picture_and_sound(raw):
    import av

    with av.open(str(next(raw.rglob("*.mp4")))) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert video.codec.name == "h264"
        assert (video.width, video.height, video.average_rate) == (96, 96, 25)
        assert (audio.codec.canonical_name, audio.rate, audio.channels) == ("aac", 16_000, 1)
        assert video.start_time == audio.start_time == 0
        assert container.duration == pytest.approx(2e6, rel=0.01)  # microseconds


def test_a_clip_shows_and_sounds_its_digit(tmp_path):
    pictures = load_digits().images / 16
    keypad.write_clips(tmp_path, keypad.Parameters(noise=(3.0, 3.0), limit=CLIPS))
    for row in read_csv(tmp_path / "keypad.csv"):
        frames, sound = decoded(tmp_path / row.source)
        digit = int(row.label)
        assert loudest(sound, 16_000) == loudest(keypad.tone(digit, 16_000, 1), 16_000)
        assert len(frames) == 50
        # What the picture adds to the screen, in pixels of full brightness, is in every frame.
        ink = pictures[int(row.key.removeprefix("digit"))].sum() * keypad.CELL**2
        lit = (frames.astype(float) - np.median(frames)).clip(40).sum((1, 2)) - 40 * 96 * 96
        assert lit.min() > 0.3 * ink * keypad.LIGHT * 219


def test_bytes_depend_on_neither_workers_nor_limit(raw, tmp_path):
    keypad.write_clips(tmp_path, keypad.Parameters(limit=CLIPS + 3), workers=2)

    expected = {name: data for name, data in contents(raw).items() if name.endswith("mp4")}
    written = contents(tmp_path)
    assert {name: written[name] for name in expected} == expected
    assert read_csv(tmp_path / "keypad.csv")[:CLIPS] == read_csv(raw / "keypad.csv")


def test_another_seed_gives_other_clips(raw, tmp_path):
    keypad.write_clips(tmp_path, keypad.Parameters(limit=1, seed=1))

    (clip,) = tmp_path.rglob("*.mp4")
    assert clip.read_bytes() not in contents(raw).values()


def test_a_killed_run_continues_to_the_same_bytes(raw, tmp_path):
    def kill(done: int, total: int) -> None:
        if done == 2:
            raise Killed

    with pytest.raises(Killed):
        keypad.write_clips(tmp_path, FIRST, progress=kill)
    assert not (tmp_path / "keypad.csv").exists()
    keypad.write_clips(tmp_path, FIRST)

    assert contents(tmp_path) == contents(raw)


def test_only_missing_clips_are_written_again(raw, tmp_path):
    keypad.write_clips(tmp_path, FIRST)
    gone, half, *rest = sorted(tmp_path.rglob("*.mp4"))
    gone.unlink()
    half.rename(half.with_suffix(".partial"))
    before = {path: path.stat().st_mtime_ns for path in rest}
    calls = []

    keypad.write_clips(tmp_path, FIRST, progress=lambda *call: calls.append(call))

    assert calls == [(CLIPS - 1, CLIPS), (CLIPS, CLIPS)]
    assert {path: path.stat().st_mtime_ns for path in rest} == before
    assert contents(tmp_path) == contents(raw)


def test_a_complete_folder_is_left_alone(raw):
    before = {path: path.stat().st_mtime_ns for path in raw.rglob("*")}

    assert keypad.write_clips(raw, FIRST) == raw / "keypad.csv"

    assert {path: path.stat().st_mtime_ns for path in raw.rglob("*")} == before


@pytest.mark.parametrize(
    "other",
    [{"seed": 1}, {"noise": (2.0, 60.0)}, {"test": 30}, {"limit": CLIPS + 1}, {"limit": None}],
)
def test_clips_made_with_other_parameters_are_refused(raw, other):
    before = contents(raw)

    with pytest.raises(ConfigError, match="give another --raw, or delete that folder"):
        keypad.write_clips(raw, replace(FIRST, **other))

    assert contents(raw) == before


def test_a_manifest_without_its_parameters_is_refused(tmp_path):
    (tmp_path / "keypad.csv").write_text("label,video\n7,train/7/digit0007.mp4\n")

    with pytest.raises(ConfigError, match="nothing records"):
        keypad.write_clips(tmp_path)


def test_a_limit_beyond_the_data_set_is_all_of_it(tmp_path):
    def stop(done: int, total: int) -> None:
        assert total == keypad.COUNT
        raise Killed

    with pytest.raises(Killed):
        keypad.write_clips(tmp_path, keypad.Parameters(limit=5000), progress=stop)

    assert json.loads((tmp_path / "keypad.json").read_text())["limit"] is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"seed": -1},
        {"limit": 0},
        {"noise": (-1.0, 3.0)},
        {"noise": (5.0, 3.0)},
        {"noise": (0.0, 3.0)},
        {"noise": (float("nan"), 3.0)},
        {"test": 0},
        {"test": 121},
    ],
)
def test_parameters_out_of_range_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        keypad.Parameters(**wrong)


def test_no_workers_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ConfigError, match="workers"):
        keypad.write_clips(tmp_path / "raw", workers=0)

    assert not (tmp_path / "raw").exists()


def test_parameters_come_from_texts_of_the_command_line():
    assert keypad.parameters_from({}) == keypad.Parameters()
    assert keypad.parameters_from({"noise": "3", "test": "30"}) == keypad.Parameters(
        noise=(3.0, 3.0), test=30
    )
    assert keypad.parameters_from({"noise": "2, 30.5"}).noise == (2.0, 30.5)
    assert keypad.parameters_from({"noise": "[2, 30]"}).noise == (2.0, 30.0)


@pytest.mark.parametrize(
    "settings",
    [
        {"noise": "loud"},
        {"noise": "1,2,3"},
        {"noise": ""},
        {"test": "2.5"},
        {"test": "10,20"},
        {"seed": "true"},
    ],
)
def test_texts_that_are_no_parameters_are_refused_by_name(settings):
    with pytest.raises(ConfigError, match=rf"--set clips\.{next(iter(settings))}="):
        keypad.parameters_from(settings)


@pytest.mark.parametrize("name", ["nois", "recipe"])
def test_unknown_parameters_are_refused(name):
    with pytest.raises(UnknownName, match="noise"):
        keypad.parameters_from({name: "2"})


def test_import_loads_nothing_slow():
    check = (
        "import sys, mmprep.datasets.generated.keypad\n"
        "print(*{'av', 'sklearn', 'torch', 'cv2'} & {*sys.modules})"
    )

    loaded = subprocess.run([sys.executable, "-c", check], check=True, capture_output=True)

    assert loaded.stdout.split() == []
