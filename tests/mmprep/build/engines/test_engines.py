"""Builds on clusters of this machine, with workers, nodes and drivers that are killed."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from mmprep.build import engines
from mmprep.build.build import build_dataset
from mmprep.build.engines.remote import POOLS, announce_run, run_task
from mmprep.cli.main import main
from mmprep.clips.job import Job
from mmprep.errors import ConfigError, MmprepError
from mmprep.format.paths import PLAN, RUN
from mmprep.manifest import write_csv
from mmprep.storage.store import LocalStore, open_store
from tests.support import builds, objectstore, raycluster
from tests.support.builds import contents, opened, plan_of, rows_of, run, stamps, until

COMMON = ["--parts", "frames", "--set", "frames.short_side=32", "--set", "clip_s=1",
          "--shard-size", "2", "--clip-timeout", "300", "--json"]  # fmt: skip
# Longest time in which a driver starts, or finishes what is left, on a busy machine.
START_S = 300


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("manifest") / "tiny.csv"
    write_csv(rows_of(), path)
    return path


@pytest.fixture(scope="module")
def undisturbed(clips: Path, manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The build of ``manifest`` by the engine `local`."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    words = ["build", "--manifest", manifest, "--raw", clips, "--out", out, *COMMON]
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return out


@pytest.fixture(scope="module")
def cluster(object_store: str) -> Iterator[raycluster.RayCluster]:
    with raycluster.cluster(**objectstore.CREDENTIALS) as made:
        yield made


def driver(
    cluster: raycluster.RayCluster, manifest: Path, raw: object, out: object, *more: str
) -> "subprocess.Popen[bytes]":
    """`mmprep build --engine ray` in a process and a session of its own."""
    words = ["build", "--manifest", manifest, "--raw", raw, "--out", out, *COMMON, *more,
             "--engine", "ray", "--ray-address", cluster.address]  # fmt: skip
    return subprocess.Popen(
        [sys.executable, "-m", "mmprep", *map(str, words)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env=cluster.environment,
    )


def finished(process: "subprocess.Popen[bytes]") -> dict[str, object]:
    said, errors = process.communicate(timeout=START_S)
    assert process.returncode == 0, errors.decode()
    report: dict[str, object] = json.loads(said)
    return report


def readers(fifo: Path) -> list[builds.Process]:
    """Decoding processes that wait for ``fifo``.

    A process that is just opening it holds up nobody who writes, but has no file yet.
    """
    found = []
    for one in builds.processes():
        try:
            files = [os.readlink(link) for link in Path(f"/proc/{one.number}/fd").iterdir()]
        except OSError:
            continue
        if str(fifo) in files and b"mmprep.clips.worker" in one.command:
            found.append(one)
    return found


def held_up(raw: Path, plan_rows: list[str]) -> None:
    """Puts a pipe in place of each clip: its decoder waits until somebody writes."""
    for source in plan_rows:
        (raw / source).unlink()
        os.mkfifo(raw / source)


def put_back(clips: Path, raw: Path, source: str) -> None:
    shutil.copyfile(clips / source, raw / "aside")
    (raw / "aside").replace(raw / source)


@pytest.mark.slow
@pytest.mark.network
def test_ray_reads_clips_from_a_bucket_and_writes_shards_to_a_bucket(
    cluster, clips, manifest, undisturbed, bucket, object_store, tmp_path
):
    raw, out = f"{bucket}/raw", f"{bucket}/out"
    for row in rows_of():
        open_store(raw).write(row.source, (clips / row.source).read_bytes())

    report = finished(driver(cluster, manifest, raw, out, "--endpoint", object_store))

    assert report["root"] == json.loads((undisturbed / "dataset.json").read_text())["root"]
    for name, data in contents(undisturbed).items():
        if name != "dataset.json":
            assert open_store(out).read(name) == data, name
    assert {name for name, _ in open_store(out).files()} == set(contents(undisturbed))


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.timeout(4 * START_S)
def test_killed_drivers_workers_and_nodes_cost_the_shards_under_way(
    cluster, clips, manifest, undisturbed, tmp_path
):
    expected = {**contents(undisturbed)}
    raw = shutil.copytree(clips, tmp_path / "raw")
    tasks = plan_of(clips, rows_of(), shard_size=2).tasks
    first, second = (task.rows[0].source for task in tasks[-2:])
    held_up(raw, [first, second])
    out = tmp_path / "out"

    process = driver(cluster, manifest, raw, out)
    pipes = [opened(raw / source, START_S) for source in (first, second)]
    until(lambda: readers(raw / first) and readers(raw / second))
    assert len(list(out.glob("_build/*-*.json"))) == len(tasks) - 2
    builds.kill(process)
    process.communicate()
    until(lambda: not readers(raw / first) and not readers(raw / second))
    for pipe in pipes:
        os.close(pipe)
    other = shutil.copytree(out, tmp_path / "other")
    whole = {name: stamp for name, stamp in stamps(out).items() if name.endswith(".tar")}
    assert len(whole) == len(tasks) - 2

    process = driver(cluster, manifest, raw, out)
    pipes = [opened(raw / source, START_S) for source in (first, second)]
    (one,) = until(lambda: readers(raw / first))
    (other_one,) = until(lambda: readers(raw / second))
    put_back(clips, raw, first)
    put_back(clips, raw, second)
    os.kill(one.parent, signal.SIGKILL)
    until(lambda: not builds.alive(one.number))
    cluster.lose_a_node()
    # Unless that went with the node, or goes now: behind the pipe its decoder would find an empty
    # file.
    with suppress(ProcessLookupError):
        os.kill(other_one.parent, signal.SIGKILL)
    until(lambda: not builds.alive(other_one.number))
    for pipe in pipes:
        os.close(pipe)
    report = finished(process)
    assert report["run"]["clips"] == sum(len(task.rows) for task in tasks[-2:])
    assert {k: v for k, v in contents(out).items() if k != "dataset.json"} == {
        k: v for k, v in expected.items() if k != "dataset.json"
    }
    assert report["root"] == json.loads(expected["dataset.json"])["root"]
    assert whole.items() <= stamps(out).items()

    words = ["build", "--manifest", manifest, "--raw", raw, "--out", other, *COMMON]
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    assert contents(other) == contents(out)


@pytest.mark.slow
def test_slurm_by_its_local_executor_is_the_engine_local(clips, manifest, undisturbed, tmp_path):
    out, jobs = tmp_path / "out", tmp_path / "jobs"
    words = ["build", "--manifest", manifest, "--raw", clips, "--out", out, *COMMON,
             "--engine", "slurm", "--slurm", "cluster=local", "--slurm", f"folder={jobs}",
             "--workers", "2"]  # fmt: skip
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    assert contents(out) == contents(undisturbed)
    assert list(jobs.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["no clips", "no process"])
def test_a_job_of_the_array_that_fails_says_why_or_names_its_log(clips, tmp_path, fault):
    away = shutil.copytree(clips, tmp_path / "away")
    parameters = {"cluster": "local", "folder": str(tmp_path / "jobs")}
    if fault == "no clips":
        # As on a node that does not mount them.
        shutil.rmtree(away)
        said = "has no folder .*/away; clips lie in a bucket"
    else:
        parameters["timeout_min"] = "0"
        said = r"job \d+ of the array failed; its log: .*_log\.err"
        os.mkfifo(away / "aside")
        (away / "aside").replace(away / rows_of()[0].source)
    engine = engines.engine_named("slurm", {"parameters": parameters})
    with pytest.raises(MmprepError, match=said):
        run(plan_of(away, rows_of()[:1]), tmp_path / "out", engine=engine)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--engine", "slurm"], "no sbatch here"),
        (["--engine", "slurm", "--slurm", "partition"], "--slurm takes KEY=VALUE"),
        (["--engine", "local", "--slurm", "partition=a"], "--slurm goes with --engine slurm"),
        (["--ray-address", "a:1"], "--ray-address goes with --engine ray"),
        (["--engine", "slurm", "--slurm", "cluster=local", "--slurm", "colour=red"], "colour"),
        (["--engine", "slurm", "--slurm", "cluster=local", "--slurm", "cpus_per_task=x"], "from 1"),
    ],
)
def test_wrong_engines_and_options_are_exit_2(words, said, clips, manifest, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.chdir(tmp_path)
    given = ["build", "--manifest", manifest, "--raw", clips, "--out", tmp_path / "out", *COMMON]
    done = CliRunner().invoke(main, [str(word) for word in [*given, *words]])
    assert done.exit_code == 2, done.output
    assert said in done.stderr


def test_a_refused_submission_is_one_line_and_leaves_no_pickle(
    clips, manifest, tmp_path, monkeypatch
):
    tools, here = tmp_path / "bin", tmp_path / "here"
    tools.mkdir()
    here.mkdir()
    for name in ("sbatch", "srun"):
        (tools / name).write_text(
            "#!/bin/sh\necho sbatch: error: invalid partition specified: nope >&2\nexit 1\n"
        )
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tools), prepend=":")
    monkeypatch.chdir(here)
    out = tmp_path / "out"
    words = ["build", "--manifest", manifest, "--raw", clips, "--out", out, *COMMON,
             "--engine", "slurm", "--slurm", "partition=nope"]  # fmt: skip
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exit_code == 2, done.output
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("Error")]
    assert "invalid partition specified: nope" in line
    assert "Traceback" not in done.stderr
    assert list(here.iterdir()) == []
    assert [path.name for path in out.rglob("*.pkl")] == []


@pytest.mark.parametrize(("name", "package"), [("ray", "ray"), ("slurm", "submitit")])
def test_an_engine_whose_package_is_missing_says_how_to_install_it(name, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=rf"pip install 'mmprep\[{name}\]'"):
        engines.engine_named(name)


@pytest.fixture(autouse=True)
def _no_decoders_left():
    """Ends the decoding processes that `run_task` keeps: other tests count those of this one."""
    yield
    POOLS.close()


def job_of(clips: Path, out: Path) -> Job:
    return Job(out=str(out), endpoint=None, raw=clips, config=builds.FRAMES)


def test_a_task_on_another_machine_makes_the_same_shard(clips, tmp_path):
    plan = plan_of(clips, rows_of()[:6])
    run(plan, tmp_path / "undisturbed")
    given = announce_run(job_of(clips, tmp_path / "out"), 2)
    results = [run_task(task, given) for task in plan.tasks]
    for result in results:
        name = result.task + ".tar"
        assert (tmp_path / "out" / name).read_bytes() == contents(tmp_path / "undisturbed")[name]
    before = stamps(tmp_path / "out")
    assert [run_task(task, given) for task in plan.tasks] == results
    assert stamps(tmp_path / "out") == before


def test_a_task_that_outlives_its_build_stops_and_writes_nothing(clips, tmp_path):
    plan = plan_of(clips, rows_of()[:6])
    old = announce_run(job_of(clips, tmp_path / "out"), 1)
    announce_run(job_of(clips, tmp_path / "out"), 1)
    with pytest.raises(ConfigError, match="another run goes on with this build"):
        run_task(plan.tasks[0], old)
    LocalStore(tmp_path / "out").delete(RUN)
    with pytest.raises(ConfigError, match="it has ended, or this node does not share that folder"):
        run_task(plan.tasks[0], old)
    assert contents(tmp_path / "out") == {}


def test_a_node_with_other_versions_is_refused_by_name(clips, tmp_path):
    given = announce_run(job_of(clips, tmp_path / "out"), 1)
    other = replace(given, made_by={**given.made_by, "av": "1.0"})
    with pytest.raises(ConfigError, match=r"has av .*, the build was begun with 1\.0; install"):
        run_task(plan_of(clips, rows_of()[:1]).tasks[0], other)


def test_a_second_run_calls_off_the_tasks_of_the_first(clips, tmp_path):
    plan = plan_of(clips, rows_of()[:6])
    old = announce_run(job_of(clips, tmp_path / "out"), 1)
    LocalStore(tmp_path / "out").write(PLAN, plan.to_json().encode())

    def engine(tasks, job, *, workers, on_clip):
        with pytest.raises(ConfigError, match="it has ended"):
            run_task(plan.tasks[0], old)
        yield from engines.engine_named("local")(tasks, job, workers=workers, on_clip=on_clip)

    report = build_dataset(plan, job_of(clips, tmp_path / "out"), engine=engine)
    assert report.clips_read == 6
