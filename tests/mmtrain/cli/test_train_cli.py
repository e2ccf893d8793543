import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from mmprep.errors import StoreError
from mmtrain.cli.main import main
from mmtrain.config.choices import CATALOGS
from mmtrain.errors import DataError, Interrupted
from mmtrain.models.catalog import FUSIONS

every_catalog = pytest.mark.parametrize("catalog", CATALOGS, ids=lambda catalog: catalog.plural)


def run(*arguments):
    return CliRunner().invoke(main, arguments)


@every_catalog
def test_a_list_has_a_line_an_entry(catalog):
    done = run(catalog.plural)

    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(catalog.names)
    assert all(e.summary in line for e, line in zip(catalog.entries, lines, strict=True))


@every_catalog
def test_a_list_is_one_json_object(catalog):
    done = run(catalog.plural, "--json")

    assert json.loads(done.stdout) == {
        catalog.plural: [
            {"name": e.name, "paper": e.paper, "summary": e.summary}
            | ({"takes": [*e.takes]} if e.takes else {})
            for e in catalog.entries
        ]
    }
    assert done.stderr == ""


def test_encoders_are_listed_with_the_kinds_of_input_that_they_take():
    lines = run("encoders").stdout.splitlines()

    takes = {line.split()[0]: line.partition("Takes ")[2].partition(".")[0] for line in lines}
    assert takes["resnet18"] == "pictures and spectrogram"
    assert takes["text-cnn"] == "tokens"
    assert takes["transformer"] == "tokens and sequence"
    assert "\nTakes tokens.\n" in run("encoders", "text-cnn").stdout


@every_catalog
def test_every_entry_is_explained(catalog):
    for entry in catalog.entries:
        done = run(catalog.plural, entry.name)
        assert done.exit_code == 0
        assert done.stdout.startswith(f"{entry.name} [{entry.paper}]\n")
        found = catalog.explain(entry.name)
        assert found.text in done.stdout
        assert all(f"  {p.name} = {p.default}\n" in done.stdout for p in found.parameters)


def test_an_explanation_is_one_json_object():
    done = run("fusions", "film", "--json")

    (found,) = json.loads(done.stdout)["fusions"]
    assert found["name"] == "film"
    assert found["text"] == FUSIONS.explain("film").text
    assert found["parameters"] == [
        {
            "name": "conditioner",
            "default": None,
            "help": "Modality that modulates; None is the first.",
        }
    ]


@every_catalog
def test_help_names_every_entry(catalog):
    done = run(catalog.plural, "--help")

    assert done.exit_code == 0
    text = "".join(done.stdout.split())  # Lines are broken at hyphens too.
    assert all(name in text for name in catalog.names)
    assert f"mmtrain {catalog.plural}" in done.stdout


def test_an_unknown_name_is_a_wrong_request():
    done = run("fusions", "flim", "--json")

    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr == "Error: no fusion 'flim'; did you mean film?\n"


@pytest.mark.parametrize("arguments", [("nothing",), ("fusions", "--no-such-option")])
def test_what_click_refuses_is_a_wrong_request(arguments):
    assert run(*arguments).exit_code == 2


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (DataError("bad run"), 3, "Error: bad run\n"),
        (StoreError("no bucket"), 1, "Error: no bucket\n"),
        (Interrupted("Stopped at step 3"), 1, "Stopped at step 3\n"),
        (KeyboardInterrupt(), 1, "Stopped. The same command goes on from here.\n"),
    ],
    ids=["data", "store", "stopped", "ctrl-c"],
)
def test_errors_end_with_a_message_and_a_code(monkeypatch, error, code, said):
    def fail(**_):
        raise error

    monkeypatch.setattr(main.commands["fusions"], "callback", fail)

    done = run("fusions")

    assert (done.exit_code, done.stderr) == (code, said)


def test_version_is_that_of_the_distribution():
    assert run("--version").stdout.startswith("mmtrain, version ")


@pytest.mark.parametrize(
    "arguments", [["--help"], ["fusions"], ["encoders", "--json"], ["fusions", "--help"]]
)
def test_help_and_lists_do_not_import_torch(arguments):
    code = (
        "import sys\n"
        "from mmtrain.cli.main import main\n"
        f"main({arguments!r}, standalone_mode=False)\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
