import subprocess
import sys
from importlib import import_module

import pytest

import mmprep
from tests.support import ROOT

HEAVY = {"numpy", "torch", "av", "cv2", "h5py", "scipy", "obstore", "click", "rich", "matplotlib"}


def test_exported_names_are_sorted_and_resolve_to_what_bears_them() -> None:
    assert mmprep.__all__ == sorted(mmprep.__all__)
    for name in mmprep.__all__:
        exported = getattr(mmprep, name)
        assert exported.__name__ == name
        assert getattr(import_module(exported.__module__), name) is exported


def test_no_module_of_the_package_hides_an_exported_name() -> None:
    hidden = {path.stem for path in (ROOT / "mmprep").iterdir()} & set(mmprep.__all__)
    assert not hidden


def test_a_name_that_does_not_exist_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="module 'mmprep' has no attribute 'biuld'"):
        _ = mmprep.biuld


@pytest.mark.parametrize("package", ["mmprep", "mmprep.format"])
def test_an_import_loads_nothing_heavy_until_a_name_is_used(package: str) -> None:
    code = (
        f"import sys, {package}\n"
        f"print(sorted({HEAVY!r} & set(sys.modules)))\n"
        f"{package}.Dataset\n"
        "print('mmprep.format.dataset' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.split("\n")[:2] == ["[]", "True"]


def test_the_package_declares_that_it_is_typed() -> None:
    assert (ROOT / "mmprep" / "py.typed").is_file()
