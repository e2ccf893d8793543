"""What a study writes besides its runs, and the same study once more."""

import json
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from mmtrain.cli.main import main
from mmtrain.comparison import manifest
from mmtrain.comparison.chance import chance_rows
from mmtrain.comparison.figures.draw import draw_figures
from mmtrain.comparison.figures.request import figure_requests
from mmtrain.comparison.tuning import tuned_points, values_of
from mmtrain.config.run import TrainConfig
from mmtrain.data import open_dataset
from tests.support.enginework import same
from tests.support.reportwork import Page
from tests.support.shardmaker import shards_of
from tests.support.studywork import made_row, made_study

STUDY = """
title = "Two rates of joint_training & chance"
source = "no paper"
seeds = [3]
controls = ["chance"]
show = ["map"]
[[row]]
label = "joint"
[set]
epochs = 1
[tune]
lr = [0.05, 0.01]
[[figures]]
kind = "accuracy"
[[figures]]
kind = "probes"
"""
OPTIONS = ("--encoder", "small-cnn", "--batch-size", "4", "--device", "cpu", "--workers", "1")
VIEW = ("--set", "view.frames=1", "--set", "view.size=32", "--set", "width=64")


def run(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def made(shards, tmp_path_factory):
    """The folder of a study, and what its command printed."""
    home = tmp_path_factory.mktemp("outputs")
    (home / "mine.toml").write_text(STUDY)
    options = ("--data", shards, *OPTIONS, *VIEW, "--modalities", "audio,visual")
    done = run("study", home / "mine.toml", *options, "--out", home / "dir")
    assert done.exit_code == 0, done.output
    return home / "dir", done


def test_the_grid_is_kept_and_shown(made):
    folder, done = made
    table = json.loads((folder / "table.json").read_text())
    tuned = table["rows"][-1]["tuned"]
    assert [(p["setting"], p["values"], p["seed"]) for p in tuned] == [
        ("lr=0.01", {"lr": 0.01}, 3),
        ("lr=0.05", {"lr": 0.05}, 3),
    ]
    for each in tuned:
        kept = json.loads((folder / "joint" / "tune" / each["setting"] / "result.json").read_text())
        assert each["val"]["accuracy"] == kept["val"]["accuracy"]
    (chosen,) = [p for p in tuned if p["chosen"]]
    assert chosen["setting"] == table["rows"][-1]["setting"]
    assert f"| {chosen['setting']} | {100 * chosen['val']['accuracy']:.2f}* |" in done.stdout
    assert "accuracy tuned on val, seed 3" in done.stdout
    # Nobody asked for the chart of a grid of one parameter.
    assert [figure["name"] for figure in table["figures"]] == ["accuracy", "probes", "tuned"]
    assert (folder / "figures" / "tuned.pdf").exists()


def test_values_of_settings():
    assert values_of("lr=1e-3,clip=5,schedule=cosine,clip2=null") == {
        "lr": 0.001,
        "clip": 5,
        "schedule": "cosine",
        "clip2": "null",
    }


def test_points_that_failed_have_no_measures(tmp_path):
    home = tmp_path / "joint" / "tune" / "lr=1e30"
    home.mkdir(parents=True)
    (home / "config.json").write_text(TrainConfig(data="x", seed=4).to_json())
    assert tuned_points(tmp_path / "joint", None) == [
        {"setting": "lr=1e30", "values": {"lr": 1e30}, "seed": 4, "val": None, "chosen": False}
    ]


def test_the_table_shows_chance_and_the_measures_that_are_asked_for(made, shards):
    folder, done = made
    table = json.loads((folder / "table.json").read_text())
    heads = [cell.strip() for cell in done.stdout.splitlines()[0].split("|")[1:-1]]
    assert heads == ["method", "seeds", "epochs x batch", "mAP", "audio", "visual", "s an epoch"]
    majority, uniform, joint = table["rows"]
    assert [row["label"] for row in table["rows"]] == ["majority class", "uniform chance", "joint"]
    assert uniform["accuracy"]["mean"] == pytest.approx(1 / 3)
    # Every class is as frequent as the others.
    assert majority["accuracy"]["mean"] == pytest.approx(1 / 3)
    assert joint["accuracy"] is not None
    assert re.search(r"Majority class: \w+ for every sample, the most frequent", done.stdout)
    assert "Uniform chance: one of the 3 classes, drawn" in done.stdout


def test_the_majority_is_that_of_train(tmp_path):
    shards = shards_of(tmp_path / "skewed", samples=24)
    with open_dataset(shards) as dataset:
        rows, note = chance_rows(TrainConfig(data=str(shards)), dataset, "test")
        annotations = dataset.annotations
        train = np.bincount(annotations.of(dataset.ids("train")).label)
        most = int(train.argmax())
        share = float((annotations.of(dataset.ids("test")).label == most).mean())
    assert rows[0]["accuracy"]["mean"] == pytest.approx(share)
    # A constant prediction of one class has F1 2p / (1 + p) there, and 0 elsewhere.
    present = 3
    assert rows[0]["macro_f1"]["mean"] == pytest.approx(2 * share / (1 + share) / present)
    assert rows[1].get("map") is None
    assert f"{100 * train[most] / train.sum():.1f} %" in note


@pytest.mark.parametrize("task", ["regression", "localisation"])
def test_chance_of_other_tasks(task, task_shards):
    with open_dataset(task_shards(task)) as dataset:
        rows, note = chance_rows(TrainConfig(data="x"), dataset, "test")
        values = dataset.annotations.values
        train, test = (values[dataset.ids(split)] for split in ("train", "test"))
    if task == "regression":
        assert [row["label"] for row in rows] == ["median score"]
        error = np.abs(test - np.median(train[:, 0])).mean()
        assert rows[0]["mae"]["mean"] == pytest.approx(error, rel=1e-5)
        assert "corr" not in rows[0]
    else:
        assert "Majority class: background" in note
        assert rows[0]["accuracy"]["mean"] == pytest.approx((test == 3).mean())
        assert rows[1]["accuracy"]["mean"] == 1 / 4


def test_figures_are_files_that_open_with_their_caption(made):
    folder, _ = made
    table = json.loads((folder / "table.json").read_text())
    place = folder / "figures"
    caption = (place / "accuracy.txt").read_text().rstrip()
    assert caption.startswith("Two rates of joint_training & chance. Mark: the single seed")
    facts = table["facts"]
    for name in ("data root", "version", "seeds", "command"):
        assert facts[name] in caption
    assert facts["seeds"] == "3"
    with Image.open(place / "accuracy.png") as picture:
        assert picture.size[0] == 1050
        assert picture.info["Description"] == caption
    pdf = (place / "accuracy.pdf").read_bytes()
    assert pdf.startswith(b"%PDF-")
    assert pdf.rstrip().endswith(b"%%EOF")
    assert b"/Subject" in pdf
    root = ET.parse(place / "accuracy.svg").getroot()
    assert root.tag.endswith("}svg")
    texts = [element.text for element in root.iter() if element.tag.endswith("}description")]
    assert texts == [caption]


def test_a_figure_without_its_data_is_left_out_by_name(made):
    folder, done = made
    table = json.loads((folder / "table.json").read_text())
    (left,) = [figure for figure in table["figures"] if figure["left_out"]]
    assert left["name"] == "probes"
    assert "--set probe_every=5" in left["left_out"]
    assert f"- probes: {left['left_out']}" in done.stdout
    assert not [*(folder / "figures").glob("probes*")]


def test_the_same_data_give_the_same_files(tmp_path):
    study = made_study([made_row(tmp_path / "runs", "joint", (0.4,))])
    requests = figure_requests([{"kind": "accuracy"}])
    contents = []
    for _ in range(2):
        (figure,) = draw_figures(requests, study, tmp_path / "figures")
        contents.append([(tmp_path / "figures" / n).read_bytes() for n in figure["files"]])
    assert figure["files"] == [f"accuracy.{kind}" for kind in ("png", "pdf", "svg", "txt")]
    assert contents[0] == contents[1]


def test_the_page_has_the_table_and_the_figures_and_loads_nothing(made):
    folder, _ = made
    page = Page((folder / "study.html").read_text())
    assert "Two rates of joint_training & chance" in page.text
    assert "uniform chance" in page.text
    assert "probes is left out" in page.text
    pictures = [a for a in page.addresses if a.startswith("data:image/svg+xml")]
    assert len(pictures) == 2
    for address in set(page.addresses) - set(pictures):
        assert (folder / address).exists(), address


def test_the_latex_table_has_a_caption_and_marks_nothing(made):
    folder, _ = made
    text = (folder / "table.tex").read_text()
    facts = json.loads((folder / "table.json").read_text())["facts"]
    assert r"\caption{Two rates of joint\_training \& chance. Percent on test of " in text
    assert facts["data root"] in text
    assert "Majority class: " in text
    assert not re.search(r"\\(textbf|underline|bf)", text)


def test_the_manifest_has_machine_versions_and_seconds(made, shards):
    folder, _ = made
    plain = manifest.read(folder)
    (command,) = plain["commands"]
    assert {"mmtrain", "python", "torch", "numpy"} <= set(command["versions"])
    assert command["hardware"]["cores"] >= 1
    assert command["hardware"]["cpu"]
    assert command["seconds"] > 0
    with open_dataset(shards) as dataset:
        assert plain["data"]["root"] == dataset.description.root
    runs = {run["run"]: run for run in plain["runs"]}
    assert set(runs) == {"joint/seed-3", "joint/tune/lr=0.01", "joint/tune/lr=0.05"}
    # The first seed of a row that was tuned is the run of the chosen setting.
    assert runs["joint/seed-3"]["seconds"] == 0
    assert runs["joint/seed-3"]["copy_of"].startswith("joint/tune/")
    assert plain["seconds"] == pytest.approx(sum(run["seconds"] for run in plain["runs"]))
    assert plain["request"]["options"]["batch_size"] == 4


def test_again_repeats_the_study(made, tmp_path):
    folder, _ = made
    refused = run("study", folder, "--again", "--epochs", "3", "--out", tmp_path / "x")
    assert refused.exit_code == 2
    assert "--epochs would make it another" in refused.stderr

    done = run("study", folder, "--again", "--workers", "2", "--out", tmp_path / "again")

    assert done.exit_code == 0, done.output
    assert same(folder / "joint" / "seed-3", tmp_path / "again" / "joint" / "seed-3")
    assert (tmp_path / "again" / "study.toml").read_text() == STUDY


def test_again_refuses_other_data(made, tmp_path):
    folder, _ = made
    other = shards_of(tmp_path / "other", samples=24)
    done = run("study", "--again", folder, "--data", other, "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert "give --data the place of the former" in done.stderr
    assert not (tmp_path / "out").exists()


def test_again_needs_a_study(tmp_path):
    done = run("study", tmp_path, "--again")
    assert done.exit_code == 2
    assert "has no manifest.json" in done.stderr
    assert run("study", "ogm-both", "--data", "x").exit_code == 2
