"""Builds where something lies already: a build that was begun, is complete, or is another's."""

import os
from dataclasses import replace

import pytest

from mmprep.build.plan import trial_rows
from mmprep.errors import ConfigError, DataError, StoreError, UnknownName
from mmprep.inspection.verify import verify
from mmprep.shards import Shards
from mmprep.storage.store import LocalStore
from tests.support import builds
from tests.support.builds import BOTH, FRAMES, LABELS, contents, plan_of, rows_of, run, spoil

OTHER = [
    ({"seed": 1}, "--seed: there 0, now 1. "),
    ({"shard_size": 5}, "--shard-size: there 3, now 5. "),
    ({"parts": replace(FRAMES, clip_s=2.0)}, "clip_s: there 1.0, now 2.0. "),
    ({"rows": rows_of()[:-1]}, r"listed clips: 1 only there \(k011\). "),
    (
        {"rows": rows_of()[2:], "seed": 2},
        r"--seed: .*; listed clips: 2 only there \(k000, k001\). ",
    ),
    (
        {"rows": [replace(rows_of()[0], label=LABELS[1]), *rows_of()[1:]]},
        r"listed clips: 1 with another label or split \(k000\). ",
    ),
    ({"limit": 4}, "--limit: there none, now 4"),
]


def asked(raw, *, rows=None, limit=None, **settings):
    rows = trial_rows(rows_of(), limit, seed=0) if limit else rows or rows_of()
    return replace(plan_of(raw, rows, **settings), limit=limit)


@pytest.mark.parametrize(("other", "named"), OTHER)
def test_other_settings_than_those_of_a_complete_build_are_refused(finished, clips, other, named):
    before = contents(finished)
    parts = replace(BOTH, clip_s=other["parts"].clip_s) if "parts" in other else BOTH
    with pytest.raises(ConfigError, match=f"begun with other settings: {named}") as caught:
        run(asked(clips, **{**other, "parts": parts}), finished)
    assert "or start over with --force" in str(caught.value)
    assert contents(finished) == before


@pytest.mark.parametrize(("other", "named"), OTHER)
def test_other_settings_than_those_of_a_begun_build_are_refused(raw, tmp_path, other, named):
    out = tmp_path / "out"
    spoil(raw, rows_of())
    with pytest.raises(DataError):
        run(plan_of(raw, rows_of(), parts=FRAMES), out, max_failed=0.0)
    with pytest.raises(ConfigError, match=f"begun with other settings: {named}"):
        run(asked(raw, **{"parts": FRAMES, **other}), out)


def test_clips_may_lie_elsewhere_when_a_build_goes_on(clips, raw, tmp_path):
    spoil(raw, rows_of()[:1])
    with pytest.raises(DataError):
        run(plan_of(raw, rows_of()), tmp_path / "out", max_failed=0.0)
    run(plan_of(clips, rows_of()), tmp_path / "out", max_failed=0.0)
    run(plan_of(clips, rows_of()), tmp_path / "undisturbed")
    roots = {Shards(LocalStore(tmp_path / name)).dataset.root for name in ("out", "undisturbed")}
    assert len(roots) == 1


def test_another_folder_that_is_not_empty_is_refused_and_left_alone(clips, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.tex").write_text("three years")
    (tmp_path / "out/.partial-download").write_text("of somebody else")
    before = contents(tmp_path / "out")
    with pytest.raises(ConfigError, match=r"is not empty and holds no build \(.*choose another"):
        run(plan_of(clips, rows_of()), tmp_path / "out")
    assert contents(tmp_path / "out") == before
    assert not (tmp_path / "out/_build").exists()


def test_a_file_in_place_of_the_folder_is_refused(clips, tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(StoreError, match=f"cannot write {tmp_path}/out/"):
        run(plan_of(clips, rows_of()), tmp_path / "out")


def test_an_unknown_engine_is_refused_with_the_known(clips, tmp_path):
    with pytest.raises(UnknownName, match="no engine 'dask'; there are: local, ray, slurm"):
        run(plan_of(clips, rows_of()), tmp_path / "out", engine="dask")


def test_force_starts_over_and_leaves_what_is_not_ours(clips, tmp_path):
    out = tmp_path / "out"
    run(plan_of(clips, rows_of(), shard_size=1), out)
    mine = ("notes.txt", "train/notes.txt", "train/1.tar", "extra/000000.tar")
    for name in mine:
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text("mine")
    run(plan_of(clips, rows_of()), out, force=True)
    run(plan_of(clips, rows_of()), tmp_path / "undisturbed")
    assert contents(out) == contents(tmp_path / "undisturbed") | dict.fromkeys(mine, b"mine")


def test_force_does_not_touch_shards_that_another_program_made(clips, tmp_path):
    others = {"train/000000.tar": b"theirs", "val/000000.tar": b"theirs too"}
    for name, data in others.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(data)
    with pytest.raises(ConfigError, match="is not empty and holds no build"):
        run(plan_of(clips, rows_of()), tmp_path, force=True)
    assert contents(tmp_path) == others


@pytest.mark.parametrize(
    "text", [b"", b"{", b"3", b"[]", b'{"version": 1}', b"\xff", b'{"version": 2}', None]
)
def test_a_damaged_plan_is_named(raw, plan, tmp_path, text):
    out = tmp_path / "out"
    (out / "_build").mkdir(parents=True)
    path = out / "_build/plan.json"
    path.write_bytes(plan.to_json().encode()[:-50] if text is None else text)
    with pytest.raises(DataError, match=r"_build/plan\.json: .*--force"):
        run(plan, out)
    assert path.exists()


def test_force_goes_on_where_the_plan_is_damaged(plan, tmp_path):
    (tmp_path / "out/_build").mkdir(parents=True)
    (tmp_path / "out/_build/plan.json").write_text("{")
    assert run(plan, tmp_path / "out", force=True).dataset.samples == 12


@pytest.mark.parametrize("text", [b"", b"3", b"[]", b"{}", b"\xff"])
def test_a_damaged_record_of_a_shard_is_named(raw, plan, tmp_path, text):
    out = tmp_path / "out"
    (out / "_build").mkdir(parents=True)
    (out / "_build/plan.json").write_text(plan.to_json())
    (out / "_build/train-000000.json").write_bytes(text)
    with pytest.raises(DataError, match=r"_build/train-000000\.json: damaged .*delete it"):
        run(plan, out)


def test_a_shard_that_is_gone_or_was_cut_is_made_again(raw, plan, tmp_path):
    out = tmp_path / "out"
    last = plan.tasks[-1]
    spoil(raw, last.rows[:1])
    with pytest.raises(DataError):
        run(plan, out, max_failed=0.0)
    (out / "train/000000.tar").unlink()
    with (out / "train/000001.tar").open("r+b") as file:
        file.truncate(1000)
    report = run(plan, out)
    assert report.clips_read == sum(len(task.rows) for task in (*plan.tasks[:2], last))
    assert verify(LocalStore(out)).problems == []


# One at a time


def test_a_second_build_on_the_same_folder_says_so(raw, tmp_path):
    out = tmp_path / "out"
    first = rows_of()[0]
    (raw / first.source).unlink()
    os.mkfifo(raw / first.source)
    process = builds.start(raw, out, workers=1)
    plan = plan_of(raw, rows_of(), shard_size=2)
    try:
        held = builds.opened(raw / first.source)
        for force in (False, True):
            with pytest.raises(ConfigError, match="another mmprep builds there; wait"):
                run(plan, out, force=force)
        assert process.poll() is None
    finally:
        builds.kill(process)
    os.close(held)
    spoil(raw, [rows_of()[0]])
    # The lock died with its holder.
    report = run(plan, out)
    assert report.dataset.failures == {"not-media": 1}


def test_a_changed_parameter_is_named_with_both_values_and_nothing_else(finished, clips):
    parts = replace(BOTH, spectrogram=replace(BOTH.spectrogram, window=128))
    with pytest.raises(ConfigError) as caught:
        run(plan_of(clips, rows_of(), parts=parts), finished)
    assert str(caught.value) == (
        f"{finished} was begun with other settings: spectrogram.window: there 64, now 128. "
        "Choose another --out, or start over with --force"
    )
