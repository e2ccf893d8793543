"""Hangs and crashes are real: a FIFO in place of a video, and signals from outside."""

import os
import resource
import signal
import subprocess
import sys
import time

import pytest

from mmprep.clips.job import Job
from mmprep.clips.pool import DecoderPool
from mmprep.clips.sample import Sample
from mmprep.errors import MmprepError
from mmprep.failure import Failure
from mmprep.manifest import Row
from tests.support import ROOT
from tests.support.builds import FRAMES, WAIT_S, alive, decoders, opened, until


@pytest.fixture(autouse=True)
def no_core_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    yield
    resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))


@pytest.fixture
def raw(clips, tmp_path):
    """Two good clips, and two that nobody ever finishes reading."""
    folder = tmp_path / "raw"
    folder.mkdir()
    for name in ("good.mp4", "other.mp4"):
        (folder / name).write_bytes((clips / "0/clip 0.mp4").read_bytes())
    for name in ("hangs.mp4", "hangs-too.mp4"):
        os.mkfifo(folder / name)
    return folder


def job_of(raw, timeout_s=WAIT_S):
    return Job(out="nowhere", endpoint=None, raw=raw, config=FRAMES, clip_timeout_s=timeout_s)


def row_of(name):
    return Row(key=name, label="x", split="train", sources={"video": f"{name}.mp4"})


def test_good_clips_become_samples(raw):
    with DecoderPool(job_of(raw), workers=2) as pool:
        futures = [pool.submit(row_of(name)) for name in ("good", "other")]
        samples = [future.result() for future in futures]
    assert all(isinstance(sample, Sample) for sample in samples)
    assert samples[0].payload["frames"] == samples[1].payload["frames"]


def test_a_decoder_that_hangs_costs_its_clip_and_its_time_limit(raw):
    with DecoderPool(job_of(raw, timeout_s=1.0), workers=1) as pool:
        pool.submit(row_of("good")).result()
        begin = time.monotonic()
        failure = pool.submit(row_of("hangs")).result()
        seconds = time.monotonic() - begin
        # With so short a limit a good clip may hit it too; then the next attempt is as good.
        until(lambda: isinstance(pool.submit(row_of("other")).result(), Sample))
    assert failure == Failure(
        key="hangs",
        label="x",
        split="train",
        source="hangs.mp4",
        stage="decode",
        cause="decode-timeout",
        message="took longer than 1 s (--clip-timeout)",
    )
    assert seconds >= 1.0


@pytest.mark.parametrize(
    ("number", "named"),
    [(signal.SIGSEGV, "SIGSEGV"), (signal.SIGKILL, "SIGKILL, perhaps for lack of memory")],
)
def test_a_decoder_that_crashes_costs_its_clip(raw, number, named):
    with DecoderPool(job_of(raw), workers=1) as pool:
        future = pool.submit(row_of("hangs"))
        held = opened(raw / "hangs.mp4")
        os.kill(decoders(os.getpid())[0], number)
        failure = future.result(timeout=WAIT_S)
        os.close(held)
        after = pool.submit(row_of("good")).result()
    assert (failure.key, failure.stage, failure.cause) == ("hangs", "decode", "decoder-crash")
    assert failure.message == f"the decoding process died: {named}"
    assert isinstance(after, Sample)


def test_a_decoder_that_died_between_two_clips_costs_neither(raw):
    with DecoderPool(job_of(raw), workers=1) as pool:
        assert isinstance(pool.submit(row_of("good")).result(), Sample)
        (process,) = decoders(os.getpid())
        os.kill(process, signal.SIGKILL)
        until(lambda: os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT))
        assert isinstance(pool.submit(row_of("other")).result(), Sample)


def test_a_hang_does_not_keep_others_waiting(raw):
    with DecoderPool(job_of(raw), workers=2) as pool:
        hanging = pool.submit(row_of("hangs"))
        held = opened(raw / "hangs.mp4")
        assert isinstance(pool.submit(row_of("good")).result(timeout=WAIT_S), Sample)
        assert not hanging.done()
        os.close(held)
        assert hanging.result().cause == "empty"


def test_a_pool_that_is_left_ends_its_processes(raw):
    with DecoderPool(job_of(raw), workers=2) as pool:
        for future in [pool.submit(row_of("good")) for _ in range(4)]:
            future.result()
        assert len(decoders(os.getpid())) in (1, 2)
    assert decoders(os.getpid()) == []


def stop_while_hanging(raw, futures, held):
    # Without the stop the pool would wait for longer than the test may last.
    with DecoderPool(job_of(raw, timeout_s=3600.0), workers=2) as pool:
        futures += [pool.submit(row_of(name)) for name in ("hangs", "hangs-too", "good", "other")]
        held += [opened(raw / "hangs.mp4"), opened(raw / "hangs-too.mp4")]
        raise KeyboardInterrupt


def test_a_pool_that_is_left_by_an_error_waits_for_no_clip_and_calls_none_bad(raw):
    futures, held = [], []
    with pytest.raises(KeyboardInterrupt):
        stop_while_hanging(raw, futures, held)
    assert decoders(os.getpid()) == []
    for future in futures:
        with pytest.raises(MmprepError, match="stopped"):
            future.result(timeout=WAIT_S)
    for descriptor in held:
        os.close(descriptor)


def test_a_pool_that_was_left_takes_no_more_clips(raw):
    with DecoderPool(job_of(raw), workers=1) as pool:
        pass
    # A future that nobody answers would hang the writer that waits for it.
    with pytest.raises(MmprepError, match="stopped"):
        pool.submit(row_of("good"))


def test_files_where_the_command_runs_do_not_become_its_modules(raw, tmp_path, monkeypatch):
    (tmp_path / "queue.py").write_text("raise SystemExit(1)")
    (tmp_path / "av.py").write_text("raise SystemExit(1)")
    monkeypatch.chdir(tmp_path)
    with DecoderPool(job_of(raw), workers=1) as pool:
        assert isinstance(pool.submit(row_of("good")).result(), Sample)


PARENT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.mmprep.clips.test_pool import DecoderPool, job_of, row_of
with DecoderPool(job_of(Path(sys.argv[1])), workers=2) as pool:
    [pool.submit(row_of(name)) for name in ("hangs", "hangs-too")][0].result()
"""


def test_decoders_die_with_the_process_that_started_them(raw):
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(raw), str(ROOT)],
        stdin=subprocess.DEVNULL,
    )
    held = [opened(raw / "hangs.mp4"), opened(raw / "hangs-too.mp4")]
    children = decoders(parent.pid)
    assert len(children) == 2
    parent.kill()
    parent.wait()
    until(lambda: not any(alive(child) for child in children))
    for descriptor in held:
        os.close(descriptor)
