"""Imports point one way, and asking for help is cheap."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# What the modules of a folder, or a single module, may not import while they run.
MAY_NOT = {
    "mmprep": ("mmtrain",),
    "mmprep/format": ("click", "rich", "av", "cv2", "obstore", "torch", "mmprep.storage"),
    "mmprep/clips/decode": ("click", "rich", "mmprep.build", "mmprep.storage"),
    "mmprep/clips/parts": (
        *("click", "rich", "av", "mmprep.build", "mmprep.storage"),
        "mmprep.clips.decode",
    ),
    "mmprep/datasets/lists": ("click", "rich", "av", "cv2", "mmprep.build", "mmprep.storage"),
    "mmtrain": ("click", "mmprep"),
    "mmtrain/functional": (
        *("mmtrain.models", "mmtrain.methods", "mmtrain.data"),
        "mmtrain.training",
    ),
    "mmtrain/models": ("mmtrain.methods", "mmtrain.data", "mmtrain.training"),
    "mmtrain/data": (
        *("mmtrain.models", "mmtrain.methods", "mmtrain.functional"),
        "mmtrain.training",
    ),
    "mmtrain/methods": ("mmtrain.training.run", "mmtrain.data"),
}
MAY = {
    "mmtrain": ("mmprep.assignments", "mmprep.format", "mmprep.storage", "mmprep.errors"),
    "mmtrain/cli": ("click", "mmprep.cli.group"),
}


def imported(path: Path) -> Iterator[str]:
    """Modules that ``path`` imports, those for type checkers apart."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    guarded = {
        node
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if node in guarded:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


@pytest.mark.parametrize("folder", MAY_NOT)
def test_imports_point_one_way(folder: str) -> None:
    for path in (ROOT / folder).rglob("*.py"):
        place = path.relative_to(ROOT).as_posix()
        parent = path.parent.relative_to(ROOT).as_posix()
        allowed = MAY.get(folder, ()) + MAY.get(parent, ()) + MAY.get(place, ())
        names = imported(path)
        wrong = [n for n in names if within(n, MAY_NOT[folder]) and not within(n, allowed)]
        assert not wrong, f"{place} imports {wrong}"


def test_the_rule_would_see_a_wrong_import(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text(
        "from mmtrain.training.run import Run\nimport click\nif TYPE_CHECKING:\n    import av\n"
    )
    names = list(imported(path))
    assert names == ["mmtrain.training.run.Run", "click"]
    assert within(names[0], ("mmtrain.training.run",))
    assert not within("mmtrain.engineer", ("mmtrain.training.run",))


@pytest.mark.parametrize(
    ("package", "heavy"),
    [
        ("mmprep", {"torch", "av", "cv2", "numpy", "scipy", "matplotlib", "obstore", "decord"}),
        ("mmtrain", {"torch", "av", "cv2", "scipy", "matplotlib", "obstore", "sklearn"}),
    ],
)
def test_help_imports_nothing_heavy(package: str, heavy: set[str]) -> None:
    code = (
        "import sys\n"
        f"from {package}.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        f"print(sorted({heavy!r} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stderr.strip() == "[]"
    assert "Usage:" in done.stdout


def test_no_module_acts_when_it_is_imported() -> None:
    code = (
        "import os, sys, pkgutil, importlib\n"
        "before = (os.getcwd(), sys.path[:], dict(os.environ))\n"
        "import cv2, mmprep\n"  # OpenCV changes LD_LIBRARY_PATH
        "before[2]['LD_LIBRARY_PATH'] = os.environ.get('LD_LIBRARY_PATH', '')\n"
        "for m in pkgutil.walk_packages(mmprep.__path__, 'mmprep.'):\n"
        "    importlib.import_module(m.name)\n"
        "os.environ.setdefault('LD_LIBRARY_PATH', '')\n"
        "assert before == (os.getcwd(), sys.path[:], dict(os.environ))\n"
        "assert 'torch' not in sys.modules, 'torch'\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, cwd=ROOT)
