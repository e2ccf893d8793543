"""Imports point one way, without circles, and asking for help is cheap."""

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("mmprep", "mmtrain")

# Folder to what its modules may import of the two packages, besides each other and the folders
# below their own. A name stands for a module, or for a folder and all below it. Imports for type
# checkers only count like any other. Folders that are not named here fail the test.
MAY_IMPORT: Mapping[str, tuple[str, ...]] = {
    # Raw videos to shards.
    "mmprep/format": ("mmprep.errors", "mmprep.lazy"),
    "mmprep/storage": ("mmprep.errors",),
    "mmprep/html": ("mmprep.printable",),
    "mmprep/clips/parts": ("mmprep.clips.decode.bounds", "mmprep.config", "mmprep.failure"),
    "mmprep/clips/decode": ("mmprep.errors", "mmprep.failure"),
    "mmprep/clips": (
        *("mmprep.config", "mmprep.errors", "mmprep.failure", "mmprep.format"),
        *("mmprep.manifest", "mmprep.storage"),
    ),
    "mmprep/datasets/generated": ("mmprep.assignments", "mmprep.errors", "mmprep.manifest"),
    "mmprep/datasets/lists": (
        *(
            "mmprep.clips.decode.array_files",
            "mmprep.clips.decode.csd",
            "mmprep.clips.decode.idx",
            "mmprep.clips.decode.pickled",
            "mmprep.datasets.spec",
            "mmprep.datasets.scan",
            "mmprep.errors",
            "mmprep.format.damage",
            "mmprep.manifest",
            "mmprep.splits",
        ),
    ),
    "mmprep/datasets": (
        *("mmprep.config", "mmprep.errors", "mmprep.failure", "mmprep.format"),
        *("mmprep.manifest", "mmprep.storage"),
    ),
    "mmprep/build/engines": (
        *("mmprep.build", "mmprep.clips", "mmprep.clusters", "mmprep.errors", "mmprep.failure"),
        *("mmprep.format", "mmprep.storage"),
    ),
    "mmprep/build": (
        *("mmprep.clips", "mmprep.config", "mmprep.datasets", "mmprep.errors", "mmprep.failure"),
        *("mmprep.format", "mmprep.manifest", "mmprep.shards", "mmprep.storage"),
        *("mmprep.version", "mmprep.assignments", "mmprep.docstrings"),
    ),
    "mmprep/inspection/picture": (
        *("mmprep.clips.parts", "mmprep.config", "mmprep.errors", "mmprep.format"),
        *("mmprep.printable", "mmprep.shards"),
    ),
    "mmprep/inspection/page": (
        *("mmprep.clips.parts", "mmprep.errors", "mmprep.failure", "mmprep.format"),
        *("mmprep.html", "mmprep.inspection", "mmprep.printable", "mmprep.shards"),
    ),
    "mmprep/inspection": (
        *("mmprep.errors", "mmprep.failure", "mmprep.format", "mmprep.shards", "mmprep.storage"),
        "mmprep.printable",
    ),
    "mmprep/foreign": ("mmprep.errors", "mmprep.format", "mmprep.storage", "mmprep.version"),
    "mmprep/cli": (
        *("mmprep.build", "mmprep.clips", "mmprep.datasets", "mmprep.errors", "mmprep.failure"),
        *("mmprep.format", "mmprep.inspection", "mmprep.manifest", "mmprep.shards"),
        *("mmprep.storage", "mmprep.version", "mmprep.assignments", "mmprep.printable"),
        "mmprep.foreign",
    ),
    "mmprep/manifest": ("mmprep.errors", "mmprep.format", "mmprep.splits"),
    "mmprep": ("mmprep",),
    # Shards to models.
    "mmtrain/functional": (),
    "mmtrain/tasks": (
        *("mmtrain.catalog", "mmtrain.errors", "mmtrain.functional", "mmtrain.metrics"),
    ),
    "mmtrain/models/encoders": (
        *("mmtrain.errors", "mmtrain.models.layers", "mmtrain.fields", "mmtrain.modalities"),
        "mmtrain.models.imagenet",
    ),
    "mmtrain/models/fusions": (
        *("mmtrain.errors", "mmtrain.models.layers", "mmtrain.models.encoders", "mmtrain.fields"),
        *("mmtrain.functional", "mmtrain.modalities"),
    ),
    "mmtrain/models": ("mmtrain.catalog", "mmtrain.errors", "mmtrain.modalities", "mmtrain.types"),
    "mmtrain/data/batches": (
        *("mmprep.storage", "mmprep.format", "mmtrain.data", "mmtrain.errors", "mmtrain.types"),
        "mmtrain.modalities",
    ),
    "mmtrain/data/reading": (
        *("mmprep.errors", "mmprep.format", "mmprep.storage", "mmtrain.data", "mmtrain.errors"),
        "mmtrain.modalities",
    ),
    "mmtrain/data": (
        *("mmprep.errors", "mmprep.format", "mmprep.storage", "mmtrain.errors"),
        *("mmtrain.fields", "mmtrain.modalities", "mmtrain.tasks", "mmtrain.types"),
    ),
    "mmtrain/methods/shared": (
        *("mmtrain.errors", "mmtrain.fields", "mmtrain.functional", "mmtrain.methods.base"),
        *("mmtrain.models", "mmtrain.tasks", "mmtrain.types"),
    ),
    "mmtrain/methods": (
        *("mmtrain.catalog", "mmtrain.errors", "mmtrain.fields", "mmtrain.functional"),
        *("mmtrain.models", "mmtrain.tasks", "mmtrain.types"),
    ),
    "mmtrain/curricula": (
        *("mmtrain.catalog", "mmtrain.data", "mmtrain.errors", "mmtrain.fields"),
        *("mmtrain.functional", "mmtrain.methods.base", "mmtrain.models", "mmtrain.tasks"),
        "mmtrain.types",
    ),
    "mmtrain/config/recipes": ("mmtrain.config", "mmtrain.errors"),
    "mmtrain/config": (
        *("mmprep.assignments", "mmtrain.catalog", "mmtrain.curricula", "mmtrain.errors"),
        *("mmprep.storage", "mmprep.docstrings"),
        *("mmtrain.methods", "mmtrain.models", "mmtrain.names", "mmtrain.tasks"),
        *("mmtrain.fields", "mmtrain.plugins", "mmtrain.modalities"),
    ),
    "mmtrain/training/loggers": ("mmtrain.tasks.measures",),
    "mmtrain/training": (
        *("mmprep.version", "mmtrain.modalities", "mmtrain.names"),
        *("mmprep.format", "mmprep.storage", "mmtrain.config", "mmtrain.curricula"),
        "mmtrain.data",
        *("mmtrain.errors", "mmtrain.files", "mmtrain.functional", "mmtrain.methods"),
        *("mmtrain.metrics", "mmtrain.models", "mmtrain.tasks", "mmtrain.types"),
    ),
    "mmtrain/evaluation": (
        *("mmtrain.config", "mmtrain.data", "mmtrain.errors", "mmtrain.files"),
        *("mmtrain.functional", "mmtrain.metrics", "mmtrain.names", "mmtrain.training"),
        *("mmtrain.types", "mmtrain.methods", "mmtrain.curricula"),
        *("mmtrain.plugins", "mmprep.format", "mmtrain.tasks"),
        *("mmtrain.modalities", "mmtrain.models"),
    ),
    # The one room that prepares raw clips, by the code of a build: clips, their parameters, the
    # suffixes of their files.
    "mmtrain/prediction": (
        *("mmprep.assignments", "mmprep.clips", "mmprep.config", "mmprep.datasets.spec"),
        "mmprep.errors",
        *("mmprep.failure", "mmprep.format", "mmprep.manifest", "mmprep.shards"),
        *("mmprep.storage", "mmprep.version", "mmtrain.config", "mmtrain.data"),
        *("mmtrain.errors", "mmtrain.files", "mmtrain.methods", "mmtrain.modalities"),
        *("mmtrain.models", "mmtrain.names", "mmtrain.plugins", "mmtrain.tasks"),
        *("mmprep.printable", "mmtrain.training", "mmtrain.types"),
    ),
    "mmtrain/report/charts": ("mmprep.html",),
    "mmtrain/report/runs": (
        *("mmprep.format", "mmtrain.config", "mmtrain.errors", "mmtrain.names", "mmtrain.tasks"),
        "mmtrain.training",
    ),
    "mmtrain/report/sections": (
        *("mmprep.errors", "mmprep.html", "mmtrain.config", "mmtrain.data", "mmtrain.errors"),
        *("mmtrain.modalities", "mmtrain.report", "mmtrain.tasks"),
        "mmtrain.evaluation.sample_scores",
    ),
    "mmtrain/report": (
        *("mmprep.html", "mmtrain.errors", "mmtrain.files", "mmtrain.tasks"),
        *("mmtrain.config", "mmtrain.training"),
    ),
    "mmtrain/comparison/engines": (
        *("mmprep.clusters", "mmprep.version", "mmtrain.comparison.charge", "mmtrain.config"),
        *("mmtrain.errors", "mmtrain.plugins", "mmtrain.training"),
    ),
    "mmtrain/comparison/figures": (
        *("mmprep.format.damage", "mmtrain.comparison.statistics", "mmtrain.config"),
        *("mmtrain.errors", "mmtrain.evaluation", "mmtrain.files", "mmtrain.methods"),
        *("mmtrain.tasks", "mmtrain.training"),
    ),
    "mmtrain/comparison": (
        *("mmprep.format", "mmprep.html", "mmprep.printable", "mmprep.storage.redact"),
        "mmprep.version",
        *("mmtrain.config", "mmtrain.data", "mmtrain.errors", "mmtrain.evaluation"),
        *("mmtrain.files", "mmtrain.metrics", "mmtrain.names", "mmtrain.report"),
        *("mmtrain.training", "mmtrain.methods", "mmtrain.plugins", "mmtrain.tasks"),
    ),
    "mmtrain/cli": (
        *("mmprep.cli.group", "mmprep.errors", "mmprep.storage.access", "mmprep.version"),
        *("mmprep.printable", "mmtrain.catalog", "mmtrain.files", "mmtrain.plugins"),
        "mmtrain.prediction",
        *("mmtrain.comparison", "mmtrain.config", "mmtrain.curricula", "mmtrain.errors"),
        *("mmtrain.evaluation", "mmtrain.methods", "mmtrain.models", "mmtrain.names"),
        *("mmtrain.report", "mmtrain.tasks", "mmtrain.training"),
    ),
    "mmtrain": (
        *("mmtrain", "mmprep.errors", "mmprep.storage", "mmprep.lazy", "mmprep.version"),
        "mmprep.docstrings",
    ),
}

# Folder to libraries that nothing in it or below it may import.
MAY_NOT_IMPORT: Mapping[str, tuple[str, ...]] = {
    "mmprep/format": ("click", "rich", "av", "cv2", "obstore"),
    "mmprep/html": ("click", "rich", "av", "cv2", "obstore"),
    "mmprep/clips": ("click", "rich"),
    "mmprep/clips/parts": ("av",),
    "mmprep/datasets": ("click", "rich", "torch", "obstore"),
    "mmprep/datasets/lists": ("av", "cv2"),
    "mmprep/build": ("torch", "click", "av", "cv2"),
    "mmprep/storage": ("torch", "click", "av", "cv2"),
    "mmtrain/functional": ("click", "rich"),
    "mmtrain/methods": ("click", "rich"),
    "mmtrain/models": ("click", "rich"),
    "mmtrain/data": ("click", "rich"),
    "mmtrain/training": ("click", "rich"),
}


def module_name(path: Path) -> str:
    """Dotted name of the module in ``path``, which is relative to the root."""
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


MODULES = {
    module_name(path.relative_to(ROOT)): path
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
}


def imports_of(path: Path) -> Iterator[str]:
    """Names that ``path`` imports anywhere: modules, or names that modules define."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


def folder_of(path: Path) -> str:
    return path.parent.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("folder", sorted({folder_of(path) for path in MODULES.values()}))
def test_a_folder_imports_only_what_lies_below(folder: str) -> None:
    own = folder.replace("/", ".")
    for path in (ROOT / folder).glob("*.py"):
        ours = [name for name in imports_of(path) if name.partition(".")[0] in PACKAGES]
        wrong = [name for name in ours if not within(name, (own, *MAY_IMPORT[folder]))]
        assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


@pytest.mark.parametrize("folder", MAY_NOT_IMPORT)
def test_libraries_stay_where_they_are_needed(folder: str) -> None:
    for path in (ROOT / folder).rglob("*.py"):
        wrong = [name for name in imports_of(path) if within(name, MAY_NOT_IMPORT[folder])]
        assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


def test_every_rule_is_of_a_folder_that_is_there() -> None:
    for folder in (*MAY_IMPORT, *MAY_NOT_IMPORT):
        assert (ROOT / folder / "__init__.py").exists(), folder


def test_no_circles() -> None:
    graph = {
        module: {
            name if name in MODULES else name.rpartition(".")[0] for name in imports_of(path)
        }.intersection(MODULES)
        - {module}
        for module, path in MODULES.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"modules import each other: {' -> '.join(error.args[1])}")


def test_no_method_imports_another() -> None:
    shared = ("mmtrain.methods.base", "mmtrain.methods.shared")
    for path in (ROOT / "mmtrain" / "methods").glob("*.py"):
        if path.stem in ("base", "catalog", "conformance", "__init__"):
            continue
        names = [name for name in imports_of(path) if within(name, ("mmtrain.methods",))]
        wrong = [name for name in names if not within(name, shared)]
        assert not wrong, f"{path.name} imports {wrong}"


def test_the_rules_would_see_a_wrong_import(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text(
        "from mmtrain.training import run\nimport click\nif TYPE_CHECKING:\n    import av\n"
    )
    names = list(imports_of(path))
    assert names == ["mmtrain.training.run", "click", "av"]
    assert within(names[0], ("mmtrain.training",))
    assert not within("mmtrain.trainings", ("mmtrain.training",))


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


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_acts_when_it_is_imported(package: str) -> None:
    code = (
        "import os, random, sys, pkgutil, importlib, warnings\n"
        "import cv2\n"  # OpenCV changes LD_LIBRARY_PATH; torch and sklearn set variables too.
        + ("import torch, torchvision, sklearn.metrics\n" if package == "mmtrain" else "")
        + f"import {package}\n"
        "def state():\n"
        "    return os.getcwd(), sys.path[:], dict(os.environ), random.getstate()\n"
        "before = state()\n"
        f"for m in pkgutil.walk_packages({package}.__path__, '{package}.'):\n"
        "    if not m.name.endswith('.__main__'):\n"
        "        importlib.import_module(m.name)\n"
        "assert before[:3] == state()[:3]\n"
        + ("assert 'torch' not in sys.modules, 'torch'\n" if package == "mmprep" else "")
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, cwd=ROOT)
