"""Whatever the bytes of a file, its readers end in a named error or in the right content.

`scripts/fuzz --minutes 10 --seed N` reads more mutants than there is time for here.
"""

import json
import subprocess
import sys

import pytest

from tests.support import ROOT


@pytest.mark.parametrize("seed", [1, 2])
def test_no_mutant_ends_in_a_traceback_a_crash_a_hang_or_wrong_data(seed: int) -> None:
    # In a process of its own: it forks, which a process with threads should not.
    command = [
        sys.executable,
        "-m",
        "tests.support.fuzzing",
        "--mutants",
        "124",
        "--seed",
        str(seed),
    ]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.stdout, ended.stderr
    report = json.loads(ended.stdout)
    assert report["failures"] == []
    assert report["mutants"] == 124
    # Damage that changes nothing would show nothing.
    assert report["refused"] > 60
