"""The public names of mmtrain and of its folders of equations, data and streams."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import mmtrain

ROOT = Path(__file__).parents[2]


def test_the_face_of_the_package_has_these_names_and_no_others():
    assert mmtrain.__all__ == [
        "Batch",
        "Curriculum",
        "Method",
        "MultimodalModel",
        "OrderedStream",
        "Outputs",
        "Predictor",
        "SampleOrder",
        "TrainConfig",
        "evaluate",
        "export",
        "load",
        "open_dataset",
        "predict",
        "train",
    ]
    assert set(mmtrain.__all__) <= set(dir(mmtrain))
    with pytest.raises(AttributeError, match="has no attribute 'trian'"):
        _ = mmtrain.trian


@pytest.mark.parametrize("name", mmtrain.__all__)
def test_each_name_is_the_thing_of_its_home_and_type_checkers_see_it_there(name):
    value = getattr(mmtrain, name)
    assert value.__name__ == name
    tree = ast.parse(Path(mmtrain.__file__).read_text("utf-8"))
    imported = {
        alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module.startswith("mmtrain.")
        for alias in node.names
    }
    assert set(imported) == set(mmtrain.__all__)
    assert getattr(importlib.import_module(imported[name]), name) is value


def test_importing_the_package_costs_nothing():
    code = (
        "import sys\n"
        "before = set(sys.modules)\n"
        "import mmtrain\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "assert new <= {'mmprep', 'mmtrain', *sys.stdlib_module_names}, new\n"
        "assert {n for n in sys.modules if n.startswith('mmtrain')} == {'mmtrain'}\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_the_package_has_types():
    assert (Path(mmtrain.__file__).parent / "py.typed").exists()


@pytest.mark.parametrize("package", ["mmtrain.functional", "mmtrain.data"])
def test_a_folder_exports_what_it_imports_once_and_sorted(package):
    module = importlib.import_module(package)
    tree = ast.parse(Path(module.__file__).read_text("utf-8"))
    lists = [node for node in tree.body if isinstance(node, ast.Assign)]
    imported = [a.name for n in tree.body if isinstance(n, ast.ImportFrom) for a in n.names]
    assert len(lists) == 1
    assert sorted(module.__all__) == sorted(imported)
    assert len(set(module.__all__)) == len(module.__all__)
    if package == "mmtrain.functional":
        assert module.__all__ == sorted(module.__all__)
