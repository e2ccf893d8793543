"""A disk that fills up under a whole command: a named error, nothing whole lost, and on it goes."""

import subprocess
import sys

import pytest

from tests.support import ROOT, fulldisk

pytestmark = pytest.mark.slow

FULL = "the disk is full; free some space and run the same command again"


@pytest.fixture(scope="module")
def outcomes(shards, tmp_path_factory):
    if fulldisk.inside() is None:
        pytest.skip("this machine lets nobody mount a small disk")
    return fulldisk.carry_out(tmp_path_factory.mktemp("full"), shards)


def test_a_command_names_the_file_that_did_not_fit(outcomes):
    short = [each for each in outcomes if each["first"]["code"] and "read_only" not in each]
    assert len(short) >= len(fulldisk.ROOMS)
    for outcome in short:
        first = outcome["first"]
        assert (first["code"], first["traceback"]) == (1, ""), outcome
        (line,) = [each for each in first["stderr"].splitlines() if FULL in each]
        assert line.startswith("Error: cannot write /"), outcome


def test_nothing_half_is_left(outcomes):
    assert all(outcome["aside"] == [] for outcome in outcomes if "aside" in outcome)


def test_each_run_goes_on_to_the_same_result_when_there_is_room(outcomes):
    runs = [outcome for outcome in outcomes if "room" in outcome]
    assert [outcome["second"]["code"] for outcome in runs] == [0] * len(fulldisk.ROOMS), runs
    assert all(outcome["test"] == runs[0]["test"] for outcome in runs)


def test_measures_and_pages_are_made_when_there_is_room(outcomes):
    looks = [outcome for outcome in outcomes if "command" in outcome]
    assert [outcome["command"] for outcome in looks] == ["eval", "probe", "report"]
    assert all(outcome["first"]["code"] == 1 for outcome in looks), looks
    assert all(outcome["second"]["code"] == 0 for outcome in looks), looks


def test_a_disk_that_is_read_only_is_named(outcomes):
    refused = [outcome for outcome in outcomes if "read_only" in outcome]
    assert [outcome["read_only"] for outcome in refused] == ["eval", "probe", "report", "train"]
    for outcome in refused:
        assert (outcome["first"]["code"], outcome["first"]["traceback"]) == (1, ""), outcome
        assert "the file system is read-only; choose another place" in outcome["first"]["stderr"]


def test_a_limit_on_the_size_of_files_is_named(tmp_path):
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from mmtrain import files\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))\n"
        "files.replace(Path(sys.argv[1]), lambda file: file.write(bytes(10_000)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "large"], capture_output=True, text=True, cwd=ROOT
    )
    assert "MmprepError: cannot write" in done.stderr
    assert "(ulimit -f); raise the limit and run the same command again" in done.stderr
    assert [*tmp_path.iterdir()] == []
