"""The draw of the clips whose sounds make a clip's babble, and builds with babble."""

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mmprep.build.plan import Plan
from mmprep.build.repair import repair
from mmprep.build.request import Request, make_plan, parts_of
from mmprep.build.voices import draw_voices
from mmprep.config import AudioConfig, FrameConfig
from mmprep.datasets import spec
from mmprep.errors import ConfigError
from mmprep.inspection.info import summarise
from mmprep.manifest import Row, write_csv
from mmprep.shards import Shards
from mmprep.storage.store import open_store
from tests.support.builds import BOTH, FRAMES, contents, plan_of, rows_of, run, spoil

BABBLE = replace(BOTH, names=("spectrogram",), audio=AudioConfig(babble_db=-5.0, babble_clips=2))


def row(number: int, split: str = "train", **more: Any) -> Row:
    sources = more.pop("sources", {"video": f"{number}.mp4"})
    return Row(key=f"k{number}", label=f"l{number % 3}", split=split, sources=sources, **more)


def draws(rows: list[Row], wanted: int = 3) -> dict[str, list[str]]:
    return {r.key: [voice.key for voice in r.voices] for r in draw_voices(rows, wanted)}


def records(out: Path) -> dict[str, dict[str, Any]]:
    with Shards(open_store(str(out))) as shards:
        return {r["key"]: r for r in map(shards.record, range(len(shards.index)))}


def planned(raw: Path, rows: list[Row]) -> Plan:
    return plan_of(raw, draw_voices(rows, 2), parts=BABBLE)


def test_others_of_the_split_are_drawn_and_never_the_clip_itself() -> None:
    rows = [row(n, ("train", "val", "test")[n % 3]) for n in range(60)]
    split_of = {r.key: r.split for r in rows}
    for key, others in draws(rows).items():
        assert len(others) == len(set(others)) == 5  # three, and two spares
        assert key not in others
        assert {split_of[other] for other in others} == {split_of[key]}


def test_the_draw_depends_on_keys_and_not_on_the_order_of_rows() -> None:
    rows = [row(n) for n in range(50)]
    assert draws(rows) == draws(rows[::-1])
    assert len({tuple(others) for others in draws(rows).values()}) == 50


def test_clips_that_arrive_change_few_draws() -> None:
    rows = [row(n) for n in range(400)]
    before, after = draws(rows, 1), draws([*rows, *(row(n) for n in range(400, 404))], 1)
    changed = sum(before[key][0] != after[key][0] for key in before)
    # A hundredth of the ring is new, and a draw passes over up to seven clips.
    assert changed < 40
    assert before.keys() < after.keys()


def test_every_clip_is_heard_about_as_often_as_others() -> None:
    counts = Counter(o for others in draws([row(n) for n in range(300)]).values() for o in others)
    # Five draws a clip.
    assert len(counts) > 290
    assert max(counts.values()) < 25


def test_a_file_is_heard_once_and_never_in_its_own_spans() -> None:
    spans = [
        row(n, sources={"video": f"{n % 3}.mp4"}, start=float(n), end=n + 1.0) for n in range(9)
    ]
    for number, clip in enumerate(draw_voices(spans, 3)):
        files = [voice.source for voice in clip.voices]
        assert sorted(files) == sorted({"0.mp4", "1.mp4", "2.mp4"} - {f"{number % 3}.mp4"})
        assert all(voice.start is not None and voice.end is not None for voice in clip.voices)
    assert draws([row(1)]) == {"k1": []}


def test_the_sound_is_heard_from_the_file_that_has_it() -> None:
    rows = [row(n, sources={"video": f"{n}.mp4", "audio": f"{n}.wav"}) for n in range(3)]
    assert {v.source for v in draw_voices(rows, 3)[0].voices} == {"1.wav", "2.wav"}
    stills = [row(n, sources={"image": f"{n}.png"}) for n in range(3)]
    assert draws(stills) == {"k0": [], "k1": [], "k2": []}


def request_for(raw: Path, folder: Path, *settings: str, limit: int | None = None) -> Request:
    write_csv(rows_of(), folder / "clips.csv")
    return Request(
        dataset=None,
        raw=raw,
        manifest=folder / "clips.csv",
        parts=("spectrogram",),
        settings=("clip_s=1", *settings),
        limit=limit,
    )


def test_a_plan_holds_the_draws_only_where_the_dial_is_on(clips: Path, tmp_path: Path) -> None:
    plain = make_plan(request_for(clips, tmp_path))
    assert not any(r.voices for task in plain.tasks for r in task.rows)
    assert "audio" not in plain.request["parts"]
    babble = make_plan(request_for(clips, tmp_path, "audio.babble_db=-5", "audio.babble_clips=2"))
    rows = {r.key: r for task in babble.tasks for r in task.rows}
    # Two clips of val and two of test; each hears the other.
    assert {len(r.voices) for r in rows.values() if r.split == "train"} == {4}
    assert {len(r.voices) for r in rows.values() if r.split != "train"} == {1}
    assert babble.request["parts"]["audio"] == {"babble_db": -5.0, "babble_clips": 2}
    assert Plan.from_json(babble.to_json(), "plan.json") == babble
    trial = make_plan(
        request_for(clips, tmp_path, "audio.babble_db=-5", "audio.babble_clips=2", limit=3)
    )
    assert all(rows[r.key] == r for task in trial.tasks for r in task.rows)


def test_the_dial_is_set_and_taken_back_by_words() -> None:
    folder = spec.load("folder", None)

    def dial(*settings: str) -> float | None:
        request = Request(dataset="folder", raw=Path(), settings=settings)
        return parts_of(folder, request).audio.babble_db

    assert (dial(), dial("audio.babble_db=-5"), dial("audio.babble_db=2.5")) == (None, -5.0, 2.5)
    assert dial("audio.babble_db=3", "audio.babble_db=none") is None
    with pytest.raises(ConfigError, match=r"audio\.babble_db is float, such as 0\.0"):
        dial("audio.babble_db=loud")


def test_pictures_without_a_frame_are_refused_before_the_build(clips: Path, tmp_path: Path) -> None:
    request = replace(request_for(clips, tmp_path, "clip_s=0.4"), parts=("frames",))
    with pytest.raises(ConfigError, match=r"no frame at frames\.fps = 1; set frames\.fps to 1\.25"):
        make_plan(request)
    make_plan(replace(request, settings=(*request.settings, "frames.fps=1.25")))


@pytest.fixture(scope="module")
def undisturbed(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("babble") / "out"
    run(planned(clips, rows_of()), out, workers=1)
    return out


def test_the_dial_stands_among_the_parameters_of_the_spectrogram(undisturbed: Path) -> None:
    with Shards(open_store(str(undisturbed))) as shards:
        parameters = summarise(shards)["parts"]["spectrogram"]["parameters"]
    assert (parameters["babble_db"], parameters["rate_hz"]) == (-5.0, 4000)


def test_workers_change_no_byte(clips: Path, undisturbed: Path, tmp_path: Path) -> None:
    run(planned(clips, rows_of()[::-1]), tmp_path / "out", workers=3)
    assert contents(tmp_path / "out") == contents(undisturbed)
    drawn = {r.key: [v.key for v in r.voices] for r in draw_voices(rows_of(), 2)}
    for key, record in records(undisturbed).items():
        assert record["babble"]["ratio_db"] == -5.0
        assert record["babble"]["clips"] == drawn[key][:2]


def test_a_repair_mixes_what_the_first_build_would_have(
    raw: Path, clips: Path, undisturbed: Path, tmp_path: Path
) -> None:
    # No other clip hears the one that is bad, so that only its own sample is missing.
    heard = {v.key for r in draw_voices(rows_of(), 2) for v in r.voices[:2]}
    bad = [r for r in rows_of() if r.key not in heard][:1] or [rows_of()[0]]
    spoil(raw, bad)
    out = tmp_path / "out"
    run(replace(planned(raw, rows_of()), raw=str(raw)), out)
    (raw / bad[0].source).unlink()
    shutil.copyfile(clips / bad[0].source, raw / bad[0].source)
    report = repair(str(out))
    assert report.mended == 1
    ours, theirs = records(out), records(undisturbed)
    assert ours[bad[0].key] == theirs[bad[0].key]


def test_an_extension_leaves_the_draws_of_old_clips(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(planned(clips, rows_of()[:8]), out)
    before, shards = records(out), {n: d for n, d in contents(out).items() if n.endswith(".tar")}
    run(planned(clips, rows_of()), out, extend=True)
    after = records(out)
    assert shards.items() <= contents(out).items()
    assert {key: after[key] for key in before} == before
    drawn = {r.key: [v.key for v in r.voices] for r in draw_voices(rows_of(), 2)}
    for key in after.keys() - before.keys():
        assert after[key]["babble"]["clips"] == drawn[key][:2]


def test_another_ratio_is_another_data_set(clips: Path, undisturbed: Path) -> None:
    louder = replace(BABBLE, audio=AudioConfig(babble_db=-10.0, babble_clips=2))
    with pytest.raises(ConfigError, match=r"audio\.babble_db: there -5\.0, now -10\.0"):
        run(plan_of(clips, draw_voices(rows_of(), 2), parts=louder), undisturbed)
    with pytest.raises(ConfigError, match=r"audio\.babble_db: there -5\.0, now none"):
        run(plan_of(clips, rows_of(), parts=replace(BABBLE, audio=AudioConfig())), undisturbed)


def test_another_region_and_other_times_of_flow_are_another_data_set(
    clips: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    few = rows_of()[:2]
    run(plan_of(clips, few, parts=FRAMES), out)
    mouth = replace(FRAMES, frames=replace(FRAMES.frames, region="0.25,0.75,0.5,1"))
    with pytest.raises(ConfigError, match=r"frames\.region: there none, now 0\.25,0\.75,0\.5,1"):
        run(plan_of(clips, few, parts=mouth), out)


def test_a_repair_keeps_the_times_of_flow_without_frames(raw: Path, tmp_path: Path) -> None:
    parts = replace(FRAMES, names=("flow",), frames=FrameConfig(fps=3.0))
    few = rows_of()[:2]
    whole, out = tmp_path / "whole", tmp_path / "out"
    run(plan_of(raw, few, parts=parts), whole)
    data = (raw / few[0].source).read_bytes()
    spoil(raw, few[:1])
    run(plan_of(raw, few, parts=parts), out)
    (raw / few[0].source).write_bytes(data)
    assert repair(str(out)).mended == 1
    assert contents(out) == contents(whole)
    described = json.loads((out / "dataset.json").read_text(encoding="utf-8"))
    assert described["parts"]["frames"] == {"fps": 3.0}
    with pytest.raises(ConfigError, match=r"frames\.fps: there 3\.0, now none"):
        run(plan_of(raw, few, parts=replace(parts, frames=FrameConfig())), out)
