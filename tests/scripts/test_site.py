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

from mmprep.config import PartsConfig
from mmprep.errors import MmprepError
from mmprep.failure import CAUSES
from mmtrain.config.choices import CATALOGS
from mmtrain.config.run import TrainConfig
from mmtrain.methods.catalog import METHODS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, as `scripts/docs` builds it: a warning fails it."""
    out = tmp_path_factory.mktemp("site")
    subprocess.run(
        [ROOT / "scripts" / "docs", "--site-dir", out],
        check=True,
        env={**os.environ, "PYTHON": sys.executable},
    )
    return out


def text(site: Path, page: str) -> str:
    return (site / page).read_text(encoding="utf-8")


def test_every_method_has_a_page_with_its_equation(site: Path) -> None:
    for name in METHODS.names:
        page = text(site, f"methods/{name.replace('+', '-plus')}.html")
        assert '<div class="equation"><math' in page, name
        assert METHODS.entry(name).summary.partition(".")[0].partition("'")[0] in page, name
        for parameter in METHODS.explain(name).parameters:
            assert f"method.{parameter.name}" in page, name


def test_no_equation_is_left_as_latex(site: Path) -> None:
    for page in site.rglob("*.html"):
        math = re.findall(r"<math.*?</math>", page.read_text(encoding="utf-8"), re.DOTALL)
        assert not [each for each in math if "\\" in each], page.name
        assert 'class="arithmatex"' not in page.read_text(encoding="utf-8"), page.name


def test_equations_are_of_entries_that_are_there() -> None:
    path = ROOT / "docs" / "methods" / "equations.toml"
    catalogs = {catalog.plural: catalog for catalog in CATALOGS}
    for plural, equations in tomllib.loads(path.read_text(encoding="utf-8")).items():
        assert set(equations) <= set(catalogs[plural].names)


@pytest.mark.parametrize("catalog", CATALOGS[1:], ids=lambda catalog: catalog.plural)
def test_every_other_entry_has_a_section(site: Path, catalog: Any) -> None:
    page = text(site, f"{catalog.plural}.html")
    for name in catalog.names:
        assert f'<h2 id="{name}">' in page, name


def keys(config: type[Any], prefix: str = "") -> set[str]:
    found = set()
    for each in fields(config):
        section = each.default_factory
        if is_dataclass(section):
            found |= keys(section, f"{each.name}.")  # type: ignore[arg-type]
        else:
            found.add(f"{prefix}{each.name}")
    return found


def test_every_setting_is_on_its_page(site: Path) -> None:
    page = text(site, "settings.html")
    made_by_the_program = {"data", "encoders", "settings", "plugins", "names"}
    for key in (keys(TrainConfig) | keys(PartsConfig)) - made_by_the_program:
        assert f"<code>{key}</code>" in page, key


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


def test_messages_are_listed_with_their_exit_codes(site: Path) -> None:
    page = text(site, "messages.html")
    assert re.search(r"<code>clip_s is \{.*?\}, shorter than one window.*?</code> \(2\)", page)
    assert page.count("<li><code>") > 400


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    loaded = re.compile(
        r'<(?:script|img|iframe)[^>]+src="(https?:[^"]+)|<link[^>]+href="(https?:[^"]+)'
    )
    for page in site.rglob("*.html"):
        assert not loaded.search(page.read_text(encoding="utf-8")), page.name


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
