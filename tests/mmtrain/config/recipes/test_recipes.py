"""Recipes: they fit the configs, and every value says where it is from."""

import json
import tomllib

import pytest
from click.testing import CliRunner

from mmtrain.cli.main import main
from mmtrain.config import recipes
from mmtrain.config.overrides import paired, resolved
from mmtrain.config.recipes import applied
from mmtrain.config.run import TrainConfig, keys
from mmtrain.curricula.catalog import CURRICULA
from mmtrain.errors import ConfigError, UnknownName
from mmtrain.methods.catalog import METHODS

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
    if name in ("keypad", "av-mnist", "grid"):  # Of no paper, as they say.
        assert "# Of no paper" in recipes.text(name)
        return
    for line in recipes.text(name).splitlines():
        if " = " in line.partition("#")[0] and not line.startswith("title"):
            assert "#" in line, line


def test_a_recipe_sets_what_it_says():
    config = applied("crema-d", TrainConfig(data="x"))
    assert (config.batch_size, config.view.frames, config.optimizer.lr) == (64, 1, 0.01)
    assert applied("nvgesture", config).modalities == ("visual", "depth", "flow")


def of(recipe, method, **given):
    """The config of a method by a recipe, and the method's own parameters in it."""
    config = applied(recipe, paired(TrainConfig(data="x", method=method, **given)))
    return config, config.settings.get("method", {})


@EACH
def test_methods_and_curricula_take_the_values_and_their_types_are_right(name):
    found = tomllib.loads(recipes.text(name))
    for catalog, section in ((METHODS, "methods"), (CURRICULA, "curricula")):
        for chosen, values in found.get(section, {}).items():
            parameters = {p.name: p.default for p in catalog.explain(chosen).parameters}
            own = {key: value for key, value in values.items() if key in parameters}
            assert {*values} <= {*parameters, *keys()}
            catalog.load(chosen)(**own)
            for key, value in own.items():
                assert type(value) is type(parameters[key]) or parameters[key] is None, key


@pytest.mark.parametrize(
    ("recipe", "method", "values"),
    [
        ("crema-d", "bss-l", {"fused": 0.1, "unimodal": 0.9, "inference": "heads"}),
        ("kinetics-sounds", "bss-l", {"fused": 1.0, "unimodal": 1.0, "inference": "sum"}),
        ("crema-d", "amss", {"tau": 0.25}),
        ("kinetics-sounds", "amss", {"tau": 0.25}),
        ("nvgesture", "amss+", {"tau": 0.5}),
        ("crema-d", "aug", {"interval": 20, "softening": 0.5, "tau": 0.01, "sigma": 1.0}),
        ("kinetics-sounds", "aug", {"interval": 10}),
        ("vggsound", "aug", {"interval": 10}),
        ("crema-d", "lfm-lb", {"align": "infonce", "start": 0.95, "held": 16}),
        ("crema-d", "igm", {"stage_epochs": "25,50", "tau": 0.4, "radius": 0.05}),
        ("crema-d", "iprm", {"alpha": 0.8}),
        ("nvgesture", "iprm", {"alpha": 0.7}),
        ("kinetics-sounds", "opm", {"q_base": 0.5, "lam": 0.5}),
        ("crema-d-ogm", "ogm", {"alpha": 0.8, "form": "cvpr22", "end": 50}),
        ("kinetics-sounds-ogm", "ogm-ge", {"alpha": 0.8, "start": 6, "end": 60}),
        ("vggsound", "ogm-ge", {"alpha": 0.1, "end": 50}),
        ("twitter2015", "aug", {"interval": 5, "softening": 0.5}),
        ("twitter2015", "bss-h", {"fused": 1.0, "unimodal": 1.0, "inference": "sum"}),
        ("sarcasm", "aug", {"interval": 1}),
        ("sarcasm", "amss", {"tau": 0.5}),
        ("sarcasm", "iprm", {"alpha": 0.7}),
        ("iemocap", "iprm", {"alpha": 0.7}),
        ("iemocap", "cggm", {"rho": 1.3, "lam": 0.2}),
        ("cmu-mosi", "cggm", {"rho": 1.3, "lam": 0.2}),
    ],
)
def test_methods_have_the_values_of_their_papers(recipe, method, values):
    _, own = of(recipe, method)
    assert {key: own[key] for key in values} == values


@pytest.mark.parametrize(
    ("recipe", "method", "epochs", "batch", "lr", "every"),
    [
        ("crema-d", "joint", 100, 64, 0.01, 70),
        ("crema-d", "amss", 80, 64, 0.01, 60),
        ("crema-d", "aug", 200, 64, 0.01, 70),
        ("crema-d", "lfm-h", 200, 64, 0.01, 70),
        ("crema-d", "bss-h", 120, 32, 0.01, 70),
        ("kinetics-sounds", "bss-h", 120, 32, 0.1, 70),
        ("kinetics-sounds", "bss-l", 100, 32, 0.1, 70),
        ("vggsound", "bss-l", 100, 16, 0.01, 70),
        ("vggsound", "ogm", 100, 32, 0.001, 70),
        ("vggsound", "opm+ogm", 100, 32, 0.001, 70),
        ("ave", "ogm-ge", 80, 64, 1e-4, 60),
        ("ave", "opm", 80, 64, 1e-4, 60),
        ("ave", "joint", 80, 64, 0.01, 60),
        ("nvgesture", "amss", 100, 4, 0.01, 80),
        ("nvgesture", "aug", 100, 2, 0.01, 70),
        ("twitter2015", "aug", 100, 32, 2e-5, 70),
        ("twitter2015", "bss-h", 113, 32, 0.001, 70),
        ("twitter2015", "lfm-h", 100, 128, 1e-4, 70),
        ("twitter2015", "amss", 50, 16, 1e-5, 70),
        ("sarcasm", "bss-h", 120, 32, 1e-5, 70),
        ("sarcasm", "amss", 50, 32, 1e-5, 70),
        ("sarcasm", "iprm", 100, 64, 1e-4, 70),
        ("iemocap", "iprm", 100, 16, 0.001, 70),
        ("cmu-mosi", "ogm", 40, 64, 1e-4, 70),
        ("music-avqa", "joint", 30, 64, 1e-4, 8),
        ("ave-segments", "opm+ogm", 300, 64, 1e-4, 70),
    ],
)
def test_methods_change_the_run_as_their_authors_do(recipe, method, epochs, batch, lr, every):
    config, _ = of(recipe, method)
    found = (config.epochs, config.batch_size, config.optimizer.lr, config.schedule.every)
    assert found == (epochs, batch, lr, every)


@pytest.mark.parametrize("recipe", ["crema-d-ogm", "kinetics-sounds", "kinetics-sounds-ogm"])
@pytest.mark.parametrize("method", ["ogm", "ogm-ge"])
def test_the_form_of_ogms_code_edits_the_tensors_that_the_code_edits(recipe, method):
    _, own = of(recipe, method)
    assert (own["form"], own["tensors"]) == ("cvpr22", "conv")


@pytest.mark.parametrize("method", ["multitask", "bss-h", "bss-l"])
def test_bss_sees_a_single_large_picture_of_vggsound(method):
    assert of("vggsound", method)[0].view.size == 384
    assert of("vggsound", method)[0].view.frames == 1
    assert of("vggsound", "ogm")[0].view.size == 224


@pytest.mark.parametrize("name", ["keypad", "av-mnist"])
def test_a_constant_factor_on_a_gradient_acts_in_the_small_recipes(name):
    # AdamW would divide it away again, and with it all that OGM does.
    assert of(name, "ogm")[0].optimizer.name == "sgd"


@pytest.mark.parametrize(
    ("recipe", "turns", "batch", "stages"),
    [
        *(("crema-d", 75, 12, 12), ("kinetics-sounds", 75, 12, 4), ("nvgesture", 150, 6, 6)),
        *(("twitter2015", 40, 12, 4), ("sarcasm", 32, 12, 4)),
    ],
)
def test_igm_trains_whole_rounds_of_stages_at_a_rate_that_stays(recipe, turns, batch, stages):
    modalities = 3 if recipe == "nvgesture" else 2
    for method in ("igm", "igm-nosam"):
        config, own = of(recipe, method)
        assert config.epochs == turns * stages // modalities
        assert config.batch_size == own["group"] == batch
        assert config.schedule.name == "constant"
    order = {"nvgesture": ("depth", "visual", "flow")}
    order |= dict.fromkeys(("twitter2015", "sarcasm"), ("text", "visual"))
    assert config.modalities == order.get(recipe, ())


def test_a_curriculum_has_its_values_with_any_method():
    for method in ("bss-l", "amss"):
        config, _ = of("crema-d", method, curriculum="bss-l")
        assert config.settings["curriculum"] == {"beta": 0.6, "every": 1, "weighting": "softmax"}
    config, _ = of("vggsound", "bss-h")
    assert config.settings["curriculum"] == {"start": 0.1, "grow": 40, "offset": 1}


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
