"""Examples in docstrings that need neither data nor a run are carried out."""

import doctest
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

RUNNABLE = (
    "mmprep.assignments",
    "mmprep.datasets.lists.youtube",
    "mmprep.html.markup",
    "mmprep.manifest.rows",
    "mmprep.printable",
    "mmprep.splits",
    "mmtrain.config.request",
    "mmtrain.fields",
    "mmtrain.functional.similarity",
)


@pytest.mark.parametrize("name", RUNNABLE)
def test_the_examples_of_a_module_are_right(name: str) -> None:
    results = doctest.testmod(importlib.import_module(name), raise_on_error=False)

    assert results.attempted > 0
    assert results.failed == 0


def test_the_packages_name_their_version_and_cost_nothing_to_import() -> None:
    code = (
        "import sys, mmprep, mmtrain\n"
        "assert mmprep.__version__ == mmtrain.__version__\n"
        "assert not {'torch', 'numpy', 'h5py', 'av'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])
