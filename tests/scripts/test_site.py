"""The documentation site: it builds without a warning, and nothing that it must hold is missing."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

import mmprep
import mmtrain
from mmprep.config import PartsConfig
from mmprep.errors import MmprepError
from mmprep.failure import CAUSES
from mmtrain.config.choices import CATALOGS
from mmtrain.config.run import TrainConfig
from mmtrain.methods.catalog import METHODS

ROOT = Path(__file__).parents[2]
# Settings that the program makes, or that have an option of their own.
NOT_SET = {"data", "encoders", "settings", "plugins", "names"}


@pytest.mark.timeout(900)
def test_the_site_builds_without_a_warning_and_is_whole(tmp_path: Path) -> None:
    # One test, or every worker that runs one of several would build the site.
    subprocess.run(
        [ROOT / "scripts" / "docs", "--site-dir", tmp_path],
        check=True,
        env={**os.environ, "PYTHON": sys.executable},
    )
    pages = {
        path.relative_to(tmp_path).as_posix(): path.read_text(encoding="utf-8")
        for path in tmp_path.rglob("*.html")
    }
    for name in METHODS.names:
        require_page(pages[f"methods/{name.replace('+', '-plus')}.html"], name)
    for catalog in CATALOGS[1:]:
        for name in catalog.names:
            assert f'<h2 id="{name}">' in pages[f"{catalog.plural}.html"], name
    for key in (keys(TrainConfig) | keys(PartsConfig)) - NOT_SET:
        assert f"<code>{key}</code>" in pages["settings.html"], key
    for name in (*mmprep.__all__, *mmtrain.__all__):
        assert re.search(rf'<h2 id="mm\w+\.[\w.]*{name}"', pages[f"reference/{home(name)}.html"])
    assert re.search(r"<code>clip_s is \{.*shorter than.*</code> \(2\)", pages["messages.html"])
    assert pages["messages.html"].count("<li><code>") > 400
    for path, page in pages.items():
        require_own(page, path)


def require_page(page: str, method: str) -> None:
    """The page of a method has equation and parameters."""
    assert '<div class="equation"><math' in page, method
    for parameter in METHODS.explain(method).parameters:
        assert f"<code>method.{parameter.name}</code>" in page, (method, parameter.name)


def require_own(page: str, path: str) -> None:
    """No LaTeX is left in a page, and it loads nothing from anywhere."""
    assert "\\" not in "".join(re.findall(r"<math.*?</math>", page, re.DOTALL)), path
    assert 'class="arithmatex"' not in page, path
    assert not re.search(r'<(?:script|img|iframe)[^>]+src="http', page), path
    assert not re.search(r'<link[^>]+rel="(?:stylesheet|preconnect|icon)"[^>]+href="http', page), (
        path
    )


def home(name: str) -> str:
    return "mmprep" if name in mmprep.__all__ else "mmtrain"


def test_equations_are_of_entries_that_are_there() -> None:
    path = ROOT / "docs" / "methods" / "equations.toml"
    catalogs = {catalog.plural: catalog for catalog in CATALOGS}
    for plural, equations in tomllib.loads(path.read_text(encoding="utf-8")).items():
        assert set(equations) <= set(catalogs[plural].names)


def keys(config: type[Any], prefix: str = "") -> set[str]:
    found = set()
    for each in fields(config):
        section = each.default_factory
        if is_dataclass(section):
            found |= keys(section, f"{each.name}.")  # type: ignore[arg-type]
        else:
            found.add(f"{prefix}{each.name}")
    return found


def subclasses(kind: type[Exception]) -> set[str]:
    """Names of the classes of errors that are ours; tests define some, too."""
    own = {kind.__name__} if kind.__module__.startswith(("mmprep.", "mmtrain.")) else set()
    return own.union(*(subclasses(each) for each in kind.__subclasses__()))


def test_every_class_of_errors_and_every_cause_has_its_cure() -> None:
    import mmprep.failure
    import mmtrain.errors
    import mmtrain.evaluation.conformance

    page = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    own = subclasses(MmprepError) | {mmprep.failure.ClipError.__name__}
    assert own >= {mmtrain.errors.RunError.__name__, "Nonconforming"}
    assert {name for name in own if f"`{name}`" not in page} == set()
    causes = page.partition("## Causes of failures")[2].partition("## Requests")[0]
    assert set(re.findall(r"^\| `([\w-]+)` \|", causes, re.MULTILINE)) == set(CAUSES)


def test_messages_with_cures_are_those_of_the_code() -> None:
    page = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    cells = re.findall(r"^\| (`[^|]+) \|", page.partition("## Requests")[2], re.MULTILINE)
    modules = [path for package in ("mmprep", "mmtrain") for path in (ROOT / package).rglob("*.py")]
    code = "".join(
        value for path in modules for value in literals(path.read_text(encoding="utf-8"))
    )
    found = [message for cell in cells for message in re.findall("`([^`]+)`", cell)]
    assert len(found) > 40
    for message in found:
        for piece in message.split("{...}"):
            assert piece in code, message


def literals(source: str) -> list[str]:
    """Texts of a module, without what is computed and without the quotes of commands."""
    tree = ast.walk(ast.parse(source))
    values = (node.value for node in tree if isinstance(node, ast.Constant))
    return [value.replace("`", "") for value in values if isinstance(value, str)]


def test_hooks_of_a_commit_are_those_of_the_test_command() -> None:
    command = (ROOT / "scripts" / "test").read_text(encoding="utf-8")
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    entries = re.findall(r"entry: (.*)", hooks)
    assert len(entries) == 3
    for entry in entries:
        assert entry in command


def test_versions_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    version = project["version"]
    assert f'VERSION: Final = "{version}"' in (ROOT / "mmprep" / "version.py").read_text("utf-8")
    assert f"version: {version}\n" in (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"## {version} (" in (ROOT / "CHANGELOG.md").read_text("utf-8")
