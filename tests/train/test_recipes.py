"""Recipes: they fit the configs, and every value says where it is from."""

import json
import tomllib

import pytest
from click.testing import CliRunner

from mmtrain import recipes
from mmtrain.catalog import CURRICULA, METHODS
from mmtrain.cli import main
from mmtrain.config import TrainConfig
from mmtrain.errors import ConfigError, UnknownName
from mmtrain.recipes import applied
from mmtrain.settings import resolved

EACH = pytest.mark.parametrize("name", recipes.names())


@EACH
def test_it_fits_every_method_and_curriculum(name):
    for method in METHODS.names:
        assert resolved(applied(name, TrainConfig(data="x", method=method))).method == method
    for curriculum in CURRICULA.names:
        resolved(applied(name, TrainConfig(data="x", curriculum=curriculum)))


@EACH
def test_it_names_only_methods_and_curricula_that_there_are(name):
    found = tomllib.loads(recipes.text(name))
    assert {*found.get("methods", {})} <= {*METHODS.names}
    assert {*found.get("curricula", {})} <= {*CURRICULA.names}


@EACH
def test_every_value_of_a_paper_has_its_source(name):
    if name in ("keypad", "av-mnist"):  # Of no paper, as they say.
        assert "# Of no paper" in recipes.text(name)
        return
    for line in recipes.text(name).splitlines():
        if " = " in line.partition("#")[0] and not line.startswith("title"):
            assert "#" in line, line


def test_a_recipe_sets_what_it_says():
    config = applied("crema-d", TrainConfig(data="x"))
    assert (config.batch_size, config.view.frames, config.optimizer.lr) == (64, 1, 0.01)
    assert applied("nvgesture", config).modalities == ("visual", "depth", "flow")


def test_an_unknown_recipe_offers_the_nearest():
    with pytest.raises(UnknownName, match="did you mean crema-d"):
        applied("cremad", TrainConfig(data="x"))


def test_a_parameter_that_nothing_has_is_named(monkeypatch):
    monkeypatch.setattr(recipes, "text", lambda name: 'title = "x"\n[optimizer]\nrate = 3\n')
    with pytest.raises(ConfigError, match=r"recipe odd: no parameter optimizer\.rate"):
        applied("odd", TrainConfig(data="x"))


def test_the_command_lists_and_shows_them():
    listed = CliRunner().invoke(main, ["recipes", "--json"])
    assert [row["name"] for row in json.loads(listed.output)["recipes"]] == [*recipes.names()]
    assert "crema-d " in CliRunner().invoke(main, ["recipes"]).output
    assert CliRunner().invoke(main, ["recipes", "keypad"]).output == recipes.text("keypad")
    assert CliRunner().invoke(main, ["recipes", "kepyad"]).exit_code == 2
