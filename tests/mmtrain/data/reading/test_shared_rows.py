"""Questions that share a clip: what training reads of the shards, and what batches hold."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mmtrain.data import OrderedStream, SampleOrder, ShardedDataset, View, open_dataset
from mmtrain.data.reading.plan import Visit, member_name, plan
from tests.support.rowmaker import clips_with_questions, make_rows, payload_of
from tests.support.streammaker import record_reads

ROWS = clips_with_questions()
PARTS = ("frames", "question", "speech")
GAPS = [0, 4096, 1 << 30]


@pytest.fixture
def asked(tmp_path: Path) -> ShardedDataset:
    make_rows(tmp_path / "asked", ROWS, parts=PARTS, task="answers").close()
    return open_dataset(tmp_path / "asked")


@pytest.mark.parametrize("gap", GAPS)
def test_each_visit_gets_its_own_question_and_the_shared_members(
    asked: ShardedDataset, gap: int
) -> None:
    rows = np.random.default_rng(1).permutation(len(asked)).tolist()
    visits = [Visit(row, {"frames": [0, 2], "question": [0], "speech": [0]}) for row in rows]
    seen: dict[tuple[int, str, int], bytes] = {}
    for job in plan(asked.index, visits, gap):
        for piece in job.pieces:
            seen[piece.visit, piece.part, piece.ordinal] = asked.store.read(
                job.shard, piece.begin, piece.end
            )
            assert member_name(asked.index, piece).startswith(f"{key_of(asked, piece.sample)}.")
    wanted = {}
    clips = {key: (row, n) for row in ROWS for n, key in enumerate(row.row_keys)}
    for visit, sample in enumerate(rows):
        row, number = clips[asked.key(sample)]
        whole = payload_of(row, PARTS)
        wanted |= {(visit, "frames", n): whole["frames"][n] for n in (0, 2)}
        wanted[visit, "question", 0] = whole["question"][number]
        wanted[visit, "speech", 0] = whole["speech"][0]
    assert seen == wanted


def key_of(asked: ShardedDataset, sample: int) -> str:
    return asked.index.clip_key(sample)


@pytest.mark.parametrize("gap", GAPS)
def test_one_job_has_all_members_of_a_visit(asked: ShardedDataset, gap: int) -> None:
    first = asked.index.find("clip2-q20")
    visits = [Visit(first + n, {"frames": [0, 2], "question": [0]}) for n in (2, 0)]
    jobs = plan(asked.index, visits, gap)
    assert len(jobs) == 1
    assert {piece.visit for piece in jobs[0].pieces} == {0, 1}


@pytest.mark.parametrize("gap", GAPS)
def test_questions_of_others_are_not_read_over(asked: ShardedDataset, gap: int) -> None:
    first = asked.index.find("clip2-q20")
    visits = [Visit(first, {"question": [0], "speech": [0]})]
    hidden = [asked.index.members(first + n)["question"][0] for n in (1, 2)]
    for job in plan(asked.index, visits, gap):
        for span in job.spans:
            assert not any(span.begin < m.offset + m.size and m.offset < span.end for m in hidden)


def test_members_that_two_questions_share_are_read_once(asked: ShardedDataset) -> None:
    first = asked.index.find("clip2-q20")
    alone = plan(asked.index, [Visit(first, {"frames": [0, 1, 2]})], 0)
    both = plan(asked.index, [Visit(first + n, {"frames": [0, 1, 2]}) for n in (0, 1)], 0)
    assert sum(job.bytes for job in both) == sum(job.bytes for job in alone)


def test_batches_hold_the_clip_and_the_answer_of_each_question(tmp_path: Path) -> None:
    make_rows(tmp_path / "asked", ROWS, task="answers").close()
    store = record_reads(tmp_path / "asked")
    data = open_dataset(store)
    ids = np.arange(len(data))
    stream = OrderedStream(data, ("audio", "visual"), len(ids), View(size=32).evaluation())
    stream.begin(SampleOrder(ids), seed=0, epoch=0)
    (batch,) = stream
    answers = {key: q.label for row in ROWS for key, q in zip(row.row_keys, row.questions)}  # noqa: B905
    for at, sample in enumerate(batch.ids.tolist()):
        wanted = answers.get(data.key(sample), "no")
        assert data.classes[int(batch.target[at])] == wanted
    first = data.index.find("clip2-q20")
    for name in ("audio", "visual"):
        values = batch.inputs[name]
        assert torch.equal(values[first], values[first + 2])
        assert not torch.equal(values[first], values[data.index.find("clip5-q50")])
