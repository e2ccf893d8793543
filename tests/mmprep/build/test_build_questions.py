"""Clips with questions, targets and groups through build, repair, extension and copy."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from mmprep.build.copy import copy
from mmprep.build.plan import Plan
from mmprep.build.repair import repair
from mmprep.errors import ConfigError
from mmprep.format import DATASET
from mmprep.inspection.verify import verify
from mmprep.manifest import Question, Row
from mmprep.shards import Shards
from mmprep.storage.store import LocalStore
from tests.support.builds import FRAMES, contents, plan_of, rows_of, run

QUESTIONS = replace(FRAMES, names=("frames", "question"))


def asked(count: int = 6) -> list[Row]:
    """The clips of `rows_of`, with one to three questions about each."""
    return [
        replace(
            row,
            label="",
            questions=tuple(
                Question(
                    id=f"{n}",
                    text=f"{row.key}: how many, and where? 多少 {n}",
                    label=("one", "two")[(i + n) % 2],
                    group=("Counting", "Location")[n % 2],
                )
                for n in range(1 + i % 3)
            ),
        )
        for i, row in enumerate(rows_of(count))
    ]


def plan_with(raw: Path, rows: Sequence[Row], **changes: object) -> Plan:
    plan = plan_of(raw, rows, parts=QUESTIONS)
    return replace(plan, **{"classes": ("one", "two"), "task": "answers", **changes})


@pytest.fixture
def raw(clips: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(clips, tmp_path / "raw"))


@pytest.fixture
def out(raw: Path, tmp_path: Path) -> Path:
    run(plan_with(raw, asked()), tmp_path / "out")
    return tmp_path / "out"


def test_a_build_holds_each_question_beside_the_frames_of_its_clip(out: Path) -> None:
    assert verify(LocalStore(out)).problems == []
    with Shards(LocalStore(out)) as shards:
        assert (shards.dataset.task, shards.dataset.samples) == ("answers", 12)
        assert sum(shard.samples for shard in shards.dataset.shards) == 6
        assert shards.dataset.splits["train"].classes == {"one": 3, "two": 3}
        for row in asked():
            frames = {
                tuple(shards.read(shards.index.find(key), ["frames"])["frames"])
                for key in row.row_keys
            }
            assert len(frames) == 1
            for key, question in zip(row.row_keys, row.questions, strict=True):
                at = shards.index.find(key)
                assert shards.read(at)["question"] == [question.text.encode()]
                assert shards.index.classes[shards.index.label[at]] == question.label
                assert shards.index.group_name(at) == question.group
            record = shards.record(shards.index.find(row.key))
            assert record["key"] == row.key
            assert [each["id"] for each in record["questions"]] == [q.id for q in row.questions]


def test_a_build_that_was_stopped_goes_on_to_the_same_bytes(
    raw: Path, out: Path, tmp_path: Path
) -> None:
    half = tmp_path / "half"
    plan = plan_with(raw, asked())
    with pytest.raises(KeyboardInterrupt):
        run(plan, half, begin=_stop_after(3))
    assert not (half / DATASET).exists()
    run(plan, half)
    assert contents(half) == contents(out)


def _stop_after(clips: int):  # type: ignore[no-untyped-def]
    from contextlib import contextmanager

    @contextmanager
    def begin(plan, left):  # type: ignore[no-untyped-def]
        seen = []

        def on_clip(failure):  # type: ignore[no-untyped-def]
            seen.append(failure)
            if len(seen) > clips:
                raise KeyboardInterrupt

        yield on_clip

    return begin


def test_a_repair_gives_what_an_undisturbed_build_gives(
    clips: Path, raw: Path, out: Path, tmp_path: Path
) -> None:
    rows = asked()
    bad = [rows[1], rows[2]]
    for row in bad:
        (raw / row.source).write_bytes(b"no media at all")
    broken = tmp_path / "broken"
    dataset = run(plan_with(raw, rows), broken).dataset
    assert dataset.failures == {"not-media": 2}
    for row in bad:
        shutil.copyfile(clips / row.source, raw / row.source)
    assert repair(str(broken)).mended == 2
    assert contents(broken) == contents(out)


def test_an_extension_adds_clips_with_their_questions(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "less"
    run(plan_with(raw, asked(4)), out)
    before = contents(out)
    later = plan_with(raw, asked())
    assert run(later, out).new_clips == 2
    report = run(later, out, extend=True)
    assert report.added == 5
    after = contents(out)
    assert {n: d for n, d in before.items() if n.endswith(".tar")}.items() <= after.items()
    assert verify(LocalStore(out)).problems == []
    with Shards(LocalStore(out)) as shards:
        keys = {key.decode() for key in shards.index.key.tolist()}
    assert keys == {key for row in asked() for key in row.row_keys}
    assert run(later, out).new_clips == 0


@pytest.mark.parametrize(
    "change",
    [{"label": "one", "text": "?"}, {"group": "Other"}, {"id": "9"}],
    ids=["answer", "type", "id"],
)
def test_other_answers_are_another_request(raw: Path, out: Path, change: dict[str, str]) -> None:
    rows = asked()
    rows[1] = replace(rows[1], questions=(replace(rows[1].questions[0], **change),))
    for options in ({}, {"extend": True}):
        with pytest.raises(ConfigError, match=r"1 with another target, group or question \(k001\)"):
            run(plan_with(raw, rows), out, **options)


def test_another_task_is_another_request(raw: Path, out: Path) -> None:
    with pytest.raises(ConfigError, match="task: there answers, now classification"):
        run(plan_with(raw, asked(), task="classification"), out)


def test_a_copy_is_whole(out: Path, tmp_path: Path) -> None:
    copy(LocalStore(out), LocalStore(tmp_path / "copy"))
    assert contents(tmp_path / "copy") == contents(out)
    assert verify(LocalStore(tmp_path / "copy")).problems == []


def test_targets_and_groups_go_into_index_and_record(raw: Path, tmp_path: Path) -> None:
    rows = [
        replace(row, target=(i / 4,), group="" if i else "first")
        for i, row in enumerate(rows_of(6))
    ]
    plan = replace(plan_of(raw, rows), task="regression")
    run(plan, tmp_path / "out")
    with Shards(LocalStore(tmp_path / "out")) as shards:
        assert shards.dataset.additions == ("target", "group")
        assert shards.index.target is not None
        for row in rows:
            at = shards.index.find(row.key)
            assert shards.index.target[at].tolist() == [row.target[0]]
            record = shards.record(at)
            assert record["target"] == list(row.target)
            assert record.get("group", "") == row.group == shards.index.group_name(at)
    other = [replace(rows[0], target=(9.0,)), *rows[1:]]
    with pytest.raises(ConfigError, match=r"1 with another target, group or question \(k000\)"):
        run(replace(plan_of(raw, other), task="regression"), tmp_path / "out")


def test_a_clip_that_may_lack_its_text_makes_format_2(raw: Path, tmp_path: Path) -> None:
    rows = [
        replace(row, texts={"text": "x"}) if i else replace(row, lacking=("text",))
        for i, row in enumerate(rows_of(3))
    ]
    parts = replace(FRAMES, names=("frames", "text"))
    dataset = run(plan_of(raw, rows, parts=parts), tmp_path / "out").dataset
    assert dataset.additions == ("missing",)
    assert json.loads((tmp_path / "out" / DATASET).read_text())["format"] == 2
    with Shards(LocalStore(tmp_path / "out")) as shards:
        lacking = shards.index.find("k000")
        assert shards.read(lacking)["text"] == []
        assert shards.record(lacking)["missing"] == ["text"]
        assert "missing" not in shards.record(shards.index.find("k001"))
    assert verify(LocalStore(tmp_path / "out")).problems == []
