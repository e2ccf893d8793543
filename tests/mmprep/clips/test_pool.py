"""Hangs and crashes are real: a FIFO in place of a video, and signals from outside."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from mmprep.clips.job import Job, slow_flow_s
from mmprep.clips.outcome import Sample
from mmprep.clips.pool import DecoderPool
from mmprep.config import AudioConfig, FlowConfig, PartsConfig
from mmprep.errors import MmprepError
from mmprep.failure import Failure
from mmprep.manifest import Row, Voice
from tests.support import ROOT
from tests.support.builds import BOTH, FRAMES, WAIT_S, alive, decoders, opened, until


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


def test_a_decoder_that_crashes_costs_its_clip(raw):
    with DecoderPool(job_of(raw), workers=1) as pool:
        future = pool.submit(row_of("hangs"))
        held = opened(raw / "hangs.mp4")
        os.kill(decoders(os.getpid())[0], signal.SIGSEGV)
        failure = future.result(timeout=WAIT_S)
        os.close(held)
        after = pool.submit(row_of("good")).result()
    assert (failure.key, failure.stage, failure.cause) == ("hangs", "decode", "decoder-crash")
    assert failure.message == "the decoding process died: SIGSEGV"
    assert isinstance(after, Sample)


def test_a_decoder_that_is_killed_while_it_starts_costs_no_clip(raw):
    with DecoderPool(job_of(raw), workers=1) as pool:
        future = pool.submit(row_of("good"))
        # It imports numpy and PyAV first, which takes longer than to see it.
        (process,) = until(lambda: decoders(os.getpid()))
        os.kill(process, signal.SIGKILL)
        assert isinstance(future.result(timeout=WAIT_S), Sample)


def babble_of(*names):
    """Row of a clip that hears the babble of the first of ``names``."""
    voices = tuple(Voice(key=name, source=f"{name}.mp4") for name in names)
    return replace(row_of("good"), voices=voices)


def babble_job(raw, timeout_s=WAIT_S):
    audio = AudioConfig(babble_db=0.0, babble_clips=1)
    return replace(
        job_of(raw, timeout_s), config=replace(BOTH, names=("spectrogram",), audio=audio)
    )


def test_a_clip_of_the_babble_that_crashes_the_decoder_is_replaced_by_the_next(raw):
    with DecoderPool(babble_job(raw), workers=1) as pool:
        future = pool.submit(babble_of("hangs", "other"))
        held = opened(raw / "hangs.mp4")
        os.kill(decoders(os.getpid())[0], signal.SIGSEGV)
        sample = future.result(timeout=WAIT_S)
        os.close(held)
    record = json.loads(sample.payload["json"][0])
    assert record["babble"]["clips"] == ["other"]


def test_a_clip_of_the_babble_that_hangs_is_named(raw):
    with DecoderPool(babble_job(raw, timeout_s=1.0), workers=1) as pool:
        failure = pool.submit(babble_of("hangs", "other")).result()
        # With so short a limit the clip itself may hit it.
        while not failure.message.endswith(", in the end with hangs.mp4, a clip of its babble"):
            assert failure.message == "took longer than 1 s (--clip-timeout)"
            failure = pool.submit(babble_of("hangs", "other")).result()
    assert (failure.key, failure.cause) == ("good", "decode-timeout")


def reader_of(path):
    """The decoding process that has ``path`` open, once there is one."""

    def look():
        return next((p for p in decoders(os.getpid()) if path in open_files(p)), None)

    return until(look)


def open_files(process):
    try:
        return [link.readlink() for link in Path(f"/proc/{process}/fd").iterdir()]
    except OSError:  # it ends just now
        return []


def kill_decoder_of(raw, name):
    """Kills the process that reads ``name``; returns once it is dead."""
    process = reader_of(raw / f"{name}.mp4")
    os.kill(process, signal.SIGKILL)
    until(lambda: not alive(process))
    return process


def test_a_decoder_that_was_killed_costs_no_clip(raw):
    with DecoderPool(job_of(raw), workers=1) as pool:
        future = pool.submit(row_of("hangs"))
        held = opened(raw / "hangs.mp4")
        (process,) = decoders(os.getpid())
        # The second attempt finds a clip that is whole.
        (raw / "hangs.mp4").unlink()
        (raw / "hangs.mp4").write_bytes((raw / "good.mp4").read_bytes())
        os.kill(process, signal.SIGKILL)
        assert isinstance(future.result(timeout=WAIT_S), Sample)
        os.close(held)


def test_a_clip_whose_decoder_is_killed_twice_fails(raw):
    with DecoderPool(job_of(raw), workers=1) as pool:
        future = pool.submit(row_of("hangs"))
        held = opened(raw / "hangs.mp4")
        first = kill_decoder_of(raw, "hangs")
        assert kill_decoder_of(raw, "hangs") != first
        os.close(held)
        failure = future.result(timeout=WAIT_S)
        assert isinstance(pool.submit(row_of("good")).result(), Sample)
    assert (failure.cause, failure.stage) == ("decoder-crash", "decode")
    assert failure.message == (
        "the decoding process died twice: SIGKILL, perhaps for lack of memory"
    )


def test_the_second_attempt_is_made_alone(raw):
    with DecoderPool(job_of(raw), workers=2) as pool:
        neighbour = pool.submit(row_of("hangs-too"))
        held = opened(raw / "hangs-too.mp4")
        killed = pool.submit(row_of("hangs"))
        first = opened(raw / "hangs.mp4")
        process = reader_of(raw / "hangs.mp4")
        os.kill(process, signal.SIGKILL)
        (raw / "hangs.mp4").unlink()
        (raw / "hangs.mp4").write_bytes((raw / "good.mp4").read_bytes())
        # The row after it waits as well, for the slot that is free takes no new clip meanwhile.
        after = pool.submit(row_of("good"))
        until(lambda: not alive(process))
        assert not killed.done()
        assert not neighbour.done()
        os.close(held)
        assert isinstance(killed.result(timeout=WAIT_S), Sample)
        assert neighbour.result(timeout=WAIT_S).cause != "decoder-crash"
        assert isinstance(after.result(timeout=WAIT_S), Sample)
        os.close(first)


def test_a_decoder_that_died_between_two_clips_costs_neither(raw):
    with DecoderPool(job_of(raw), workers=1) as pool:
        assert isinstance(pool.submit(row_of("good")).result(), Sample)
        (process,) = decoders(os.getpid())
        os.kill(process, signal.SIGKILL)
        until(lambda: os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT))
        assert isinstance(pool.submit(row_of("other")).result(), Sample)


def test_the_time_limit_grows_with_the_flow_asked_for(raw):
    # 10 frame times of 5 pairs are 50 s of one core at the default size.
    slow = PartsConfig(names=("flow",), flow=FlowConfig(algorithm="tvl1", fields=5))
    assert slow_flow_s(slow) == 50
    assert slow_flow_s(replace(slow, flow=FlowConfig(algorithm="dis", fields=5))) == 0
    assert slow_flow_s(PartsConfig(flow=FlowConfig(algorithm="tvl1"))) == 0
    job = job_of(raw, timeout_s=60.0)
    assert job.limit_s == 60
    assert replace(job, config=slow).limit_s == 60 + 4 * 50


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
