import inspect
import subprocess
import sys

import pytest

from mmtrain.catalog import Catalog, Entry
from mmtrain.config.choices import CATALOGS
from mmtrain.errors import ConfigError, DataError, MmtrainError, UnknownName
from mmtrain.models.catalog import ENCODERS, FUSIONS

every_entry = pytest.mark.parametrize(
    ("catalog", "entry"),
    [(catalog, entry) for catalog in CATALOGS for entry in catalog.entries],
    ids=lambda value: value.name if isinstance(value, Entry) else value.plural,
)


def test_the_names_of_the_catalogs():
    pictures = ("resnet18", "small-cnn", "resnet50", "tsn", "tsm", "timm")
    assert ENCODERS.names == (*pictures, "text-cnn", "transformer", "projection", "transformers")
    simple = ("concat", "sum", "weight", "film", "gated", "mlp")
    deep = ("mmtm", "centralnet", "attention", "ml-lstm", "lmf")
    task_models = ("avga", "psp", "avsdn", "mwtsm", "avsd", "panoavqa")
    assert FUSIONS.names == simple + deep + task_models


@pytest.mark.parametrize("catalog", CATALOGS, ids=lambda catalog: catalog.plural)
def test_names_are_different(catalog):
    assert len(set(catalog.names)) == len(catalog.entries)


@every_entry
def test_every_entry_loads_and_explains_itself(catalog, entry):
    found = catalog.explain(entry.name)

    assert inspect.isclass(catalog.target(entry.name))
    assert found.entry is entry
    assert found.text
    assert "Args:" not in found.text
    assert entry.summary.endswith(".")
    assert entry.paper == "-" or entry.paper[-4:].isdigit()


@every_entry
def test_every_parameter_has_a_default_and_a_description(catalog, entry):
    for parameter in catalog.explain(entry.name).parameters:
        assert parameter.default is not inspect.Parameter.empty, parameter.name
        assert parameter.help.endswith("."), parameter.name


def test_an_explanation_holds_equation_and_parameters():
    found = FUSIONS.explain("gated")

    assert "sigmoid(phi^k U^T + c_k)" in found.text
    assert [(p.name, p.default) for p in found.parameters] == [("gate", None), ("hidden", 512)]
    assert found.parameters[1].help == "Width to which all are projected."


class Sample:
    """First line.

    More.

    Args:
        fixed: Not the user's.
        alpha: Strength, which
            goes on.
        beta: Another.

    Raises:
        ValueError: Never.
    """

    def __init__(self, fixed: int, *, alpha: float = 0.5, beta: str = "x") -> None:
        self.alpha = alpha


def lines(*entries):
    """A catalog whose targets are in this file."""
    return Catalog("s", "ss", __name__.rpartition(".")[0], "test_catalog:Sample", entries)


def test_parameters_are_read_from_signature_and_docstring():
    found = lines(Entry("any", "test_catalog:Sample", "-", "")).explain("any")

    assert found.text == "First line.\n\nMore."
    assert found.parameters == (
        ("alpha", 0.5, "Strength, which goes on."),
        ("beta", "x", "Another."),
    )


class Preset(Sample):
    """Another.

    Args:
        beta: Its own.
    """


def test_a_subclass_describes_only_what_it_changes():
    found = lines(Entry("any", "test_catalog:Preset", "-", "")).explain("any")

    assert found.text == "Another."
    assert [p.help for p in found.parameters] == ["Strength, which goes on.", "Its own."]


def test_a_variant_is_a_line_with_settings():
    catalog = lines(Entry("any", "test_catalog:Sample", "-", "", settings={"alpha": 0.1}))

    found = catalog.explain("any")

    assert found.text.endswith("This variant has other defaults: ``alpha = 0.1``.")
    assert [(p.name, p.default) for p in found.parameters] == [("alpha", 0.1), ("beta", "x")]
    assert catalog.load("any")(1).alpha == 0.1
    assert catalog.load("any")(1, alpha=2.0).alpha == 2.0


def test_an_unknown_name_offers_the_nearest():
    with pytest.raises(UnknownName, match=r"no fusion 'flim'; did you mean film\?"):
        FUSIONS.load("flim")
    with pytest.raises(UnknownName, match=r"no encoder 'zzz'; there are: .*resnet18"):
        ENCODERS.entry("zzz")


def test_the_table_has_a_line_an_entry():
    lines = ENCODERS.markdown().splitlines()

    assert lines[0] == "| name | what it does | paper |"
    assert lines[1] == "| --- | --- | --- |"
    assert [line.split("`")[1] for line in lines[2:]] == list(ENCODERS.names)


def test_exit_codes_are_those_of_the_command_line():
    assert (MmtrainError.exit_code, ConfigError.exit_code, DataError.exit_code) == (1, 2, 3)
    assert UnknownName.exit_code == 2


def test_catalogs_are_listed_without_torch():
    code = (
        "import sys\n"
        "from mmtrain.config.choices import CATALOGS\n"
        "[c.markdown() for c in CATALOGS]\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
