import pytest

from mmtrain.comparison.entrants import folder_name
from mmtrain.config.recipes import applied
from mmtrain.config.run import TrainConfig
from mmtrain.data import open_dataset
from mmtrain.errors import ConfigError, UnknownName
from tests.support.evalwork import NoVal, contest
from tests.support.shardmaker import shards_of


@pytest.fixture(scope="module")
def dataset(shards):
    with open_dataset(shards) as opened:
        yield opened


def test_everyone_gets_the_same_grid(dataset):
    given = contest(
        dataset.store.url,
        "joint",
        "multitask",
        seeds=(4, 5),
        alone=True,
        settings=("schedule=cosine",),
        settings_for=("multitask:unimodal=0.5",),
        tune=("lr=0.1,0.2,0.1", "clip=1,null"),
    )

    found = {entrant.label: entrant for entrant in given.entrants(dataset)}

    assert list(found) == ["audio-alone", "visual-alone", "joint", "multitask"]
    settings = ["lr=0.1,clip=1", "lr=0.1,clip=null", "lr=0.2,clip=1", "lr=0.2,clip=null"]
    for entrant in found.values():
        assert list(entrant.grid) == settings
        assert entrant.config.schedule.name == "cosine"
        for setting, config in entrant.grid.items():
            assert f"lr={config.optimizer.lr}" in setting
            assert config.seed == 4
            assert config.settings == entrant.config.settings
    own = {"fused": 1.0, "unimodal": 0.5, "inference": "fused"}
    assert found["multitask"].config.settings["method"] == own
    assert found["audio-alone"].config.modalities == ("audio",)
    assert found["audio-alone"].config.method == "joint"
    assert found["joint"].config.modalities == ("audio", "visual")


def test_names_of_folders_can_be_told_apart():
    assert folder_name("lr=0.1,clip=1") == "lr=0.1,clip=1"
    assert folder_name("weights=/a/b") == "weights=%2Fa%2Fb"


def test_without_val_nothing_can_be_tuned(tmp_path):
    shards = shards_of(tmp_path, NoVal, samples=12)
    with open_dataset(shards) as data, pytest.raises(ConfigError, match="no val split"):
        contest(shards, "joint", tune=("lr=1,2",)).entrants(data)


def test_a_setting_is_for_a_method_that_takes_part(dataset):
    with pytest.raises(UnknownName, match="did you mean multitask"):
        contest(dataset.store.url, "multitask", settings_for=("multitsk:lr=1",))


def test_a_recipe_has_values_for_the_curriculum_that_a_method_brings(dataset):
    given = contest(dataset.store.url, "joint", "bss-h", recipe="av-mnist", given={"batch_size": 4})
    _, brought = (entrant.config for entrant in given.entrants(dataset))
    assert brought.curriculum == "bss-h"
    assert brought.settings["curriculum"]["grow"] == 2


@pytest.mark.parametrize(("budget", "own"), [("equal", (3, 4)), ("authors", (5, 6))])
def test_methods_have_one_budget_or_their_authors(dataset, tmp_path, budget, own):
    recipe = tmp_path / "mine.toml"
    recipe.write_text(
        "epochs = 3\nbatch_size = 4\n[methods.multitask]\nepochs = 5\nbatch_size = 6\nfused = 0.1\n"
    )
    given = contest(dataset.store.url, "joint", "multitask", recipe=str(recipe), budget=budget)
    joint, multitask = (entrant.config for entrant in given.entrants(dataset))
    assert (joint.epochs, joint.batch_size) == (3, 4)
    assert (multitask.epochs, multitask.batch_size) == own
    # A parameter of the method itself stays either way.
    assert multitask.settings["method"]["fused"] == 0.1


def test_a_recipe_is_for_every_entrant_and_what_is_given_goes_before_it(dataset):
    given = contest(
        dataset.store.url,
        "joint",
        alone=True,
        recipe="keypad",
        given={"epochs": 1, "batch_size": 4},
    )
    plain = applied("keypad", TrainConfig(data="", epochs=1, batch_size=4))
    found = given.entrants(dataset)
    assert [e.config.modalities for e in found] == [("audio",), ("visual",), ("audio", "visual")]
    for entrant in found:
        assert (entrant.config.epochs, entrant.config.batch_size) == (1, 4)
        assert entrant.config.optimizer == plain.optimizer != TrainConfig(data="").optimizer
