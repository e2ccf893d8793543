import csv
import json
import signal
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from mmtrain.cli.main import main
from mmtrain.comparison.compare import compare
from mmtrain.comparison.entrants import Contest
from mmtrain.errors import ConfigError, Interrupted
from mmtrain.training.checkpoint import BEST
from mmtrain.training.train import train
from tests.support import forked
from tests.support.enginework import same, small
from tests.support.evalwork import compare_until, contest
from tests.support.taskwork import tiny

SMALL = ("--encoder", "small-cnn", "--epochs", "1", "--batch-size", "4", "--device", "cpu")
VIEW = ("--set", "view.frames=1", "--set", "view.size=32", "--set", "width=64", "--workers", "1")


def run(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def times(folder):
    """When each file of the runs was written."""
    return {
        p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file() and p.parent != folder
    }


@pytest.fixture(scope="module")
def held(shards, tmp_path_factory):
    """Two methods and each modality alone, with two seeds."""
    folder = tmp_path_factory.mktemp("compare") / "out"
    given = contest(shards, "joint", "multitask", seeds=(0, 3), alone=True)
    return given, folder, compare(given, folder)


def test_the_runs_are_those_that_train_makes(held, shards, tmp_path):
    _, folder, _ = held
    config = small(shards, epochs=1, modalities=("audio", "visual"), method="multitask", seed=3)
    train(config, tmp_path)
    assert same(folder / "multitask" / "seed-3", tmp_path)


def test_the_table_is_of_the_results(held):
    _, folder, found = held
    assert json.loads((folder / "table.json").read_text()) == found
    labels = ["audio-alone", "visual-alone", "joint", "multitask"]
    assert [row["label"] for row in found["rows"]] == labels
    assert found["failed"] == []
    for row in found["rows"]:
        paths = [folder / row["label"] / f"seed-{seed}" for seed in (0, 3)]
        results = [json.loads((path / "result.json").read_text()) for path in paths]
        assert (row["seeds"], row["runs"]) == ([0, 3], [str(path) for path in paths])
        assert row["split"] == "test"
        assert list(row["modalities"]) == results[0]["modalities"]
        for name in ("accuracy", "map", "macro_f1"):
            one, other = (result["test"][name] for result in results)
            # Of two values the sample standard deviation is their distance over root two.
            expected = {"mean": (one + other) / 2, "std": abs(one - other) / np.sqrt(2)}
            assert row[name] == pytest.approx(expected)
        for m, said in row["modalities"].items():
            mean = np.mean([r["test"]["modalities"][m]["accuracy"] for r in results])
            assert said["accuracy"]["mean"] == pytest.approx(mean)
        seconds = np.mean([r["train_seconds"] for r in results])
        assert row["seconds_an_epoch"]["mean"] == pytest.approx(seconds)


def test_the_page_has_a_line_a_row(held):
    _, folder, found = held
    heads, rule, *lines = (folder / "table.md").read_text().splitlines()[:6]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in (heads, *lines)]
    assert cells[0][:6] == ["method", "seeds", "epochs x batch", "accuracy", "mAP", "macro-F1"]
    assert cells[0][6:] == ["audio", "visual", "against joint", "s an epoch"]
    assert set(rule) <= set("|-: ")
    for row, line in zip(found["rows"], cells[1:], strict=True):
        accuracy = row["accuracy"]
        said = f"{100 * accuracy['mean']:.2f} ± {100 * accuracy['std']:.2f}"
        assert line[:4] == [row["label"], "2", "1 x 4", said]
    assert cells[1][7] == cells[2][6] == "-"
    assert (folder / "report.html").exists()


def test_rows_are_compared_with_the_baseline_by_sample(held, shards):
    _, folder, found = held
    rows = {row["label"]: row for row in found["rows"]}
    assert "against" not in rows["joint"]
    against = rows["multitask"]["against"]
    assert (against["baseline"], against["seeds"]) == ("joint", 2)
    gain = rows["multitask"]["accuracy"]["mean"] - rows["joint"]["accuracy"]["mean"]
    assert against["mean"] == pytest.approx(gain)
    assert against["low"] <= against["mean"] <= against["high"]
    low, high = rows["joint"]["interval"]
    assert (low + high) / 2 == pytest.approx(rows["joint"]["accuracy"]["mean"])
    # Together the shares are the accuracy over that of chance among three classes.
    classes = len(json.loads((shards / "dataset.json").read_text())["classes"])
    for row in found["rows"][2:]:
        total = sum(share["mean"] for share in row["shares"].values())
        assert total == pytest.approx(row["accuracy"]["mean"] - 1 / classes)
        assert 0 <= row["calibration"]["mean"] <= 1
    assert "| share of audio | share of visual |" in (folder / "table.md").read_text()


def test_the_table_is_there_for_other_programs(held):
    _, folder, found = held
    with (folder / "table.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["label"] for line in lines] == [row["label"] for row in found["rows"]]
    for line, row in zip(lines, found["rows"], strict=True):
        assert float(line["accuracy.mean"]) == row["accuracy"]["mean"]
        assert line.get("against.verdict", "") == row.get("against", {}).get("verdict", "")
    latex = (folder / "table.tex").read_text()
    assert latex.count(r" \\") == 5
    assert latex.count("&") == 5 * 9
    assert r"$\pm$" in latex


def test_what_is_done_is_not_done_again(held):
    given, folder, found = held
    before = times(folder)
    assert compare(given, folder) == found
    assert times(folder) == before


def test_a_comparison_that_was_killed_goes_on(shards, tmp_path):
    # A run brings some 20 files to the disk, so the second is under way.
    methods, out = ("joint", "multitask"), tmp_path / "out"
    killed = forked.start(compare_until, 29, shards, out, methods).wait()
    assert killed.returncode == -signal.SIGKILL
    assert (out / "joint" / "seed-0" / "result.json").exists()
    assert (out / "multitask" / "seed-0" / "config.json").exists()
    assert not (out / "multitask" / "seed-0" / "result.json").exists()
    assert not (out / "table.json").exists()
    before = times(out / "joint")

    found = compare(contest(shards, *methods), out)

    assert times(out / "joint") == {**times(out / "joint"), **before}
    assert [row["seeds"] for row in found["rows"]] == [[0], [0]]
    config = small(shards, epochs=1, modalities=("audio", "visual"), method="multitask")
    train(config, tmp_path / "straight")
    assert same(tmp_path / "straight", out / "multitask" / "seed-0")


def test_settings_are_chosen_on_val_never_on_test(shards, tmp_path):
    given = contest(shards, "joint", seeds=(2, 0), tune=("lr=0.05,0.01", "momentum=0.5"))
    tuned = [tmp_path / "joint" / "tune" / f"lr={lr},momentum=0.5" for lr in ("0.05", "0.01")]
    compare(given, tmp_path)
    assert sorted(path.name for path in (tmp_path / "joint" / "tune").iterdir()) == sorted(
        path.name for path in tuned
    )

    for val, test, best in ((0.9, 0.1, 0), (0.1, 0.9, 1)):
        # Finished runs are kept, so what they say can be planted: val and test disagree.
        for path, shares in zip(tuned, ((val, test), (test, val)), strict=True):
            result = json.loads((path / "result.json").read_text())
            result["val"]["accuracy"], result["test"]["accuracy"] = shares
            (path / "result.json").write_text(json.dumps(result))
        for seed in (0, 2):
            for file in sorted((tmp_path / "joint" / f"seed-{seed}").rglob("*"), reverse=True):
                file.rmdir() if file.is_dir() else file.unlink()
            (tmp_path / "joint" / f"seed-{seed}").rmdir()

        (row,) = compare(given, tmp_path)["rows"]

        assert row["setting"] == tuned[best].name
        assert row["seeds"] == [2, 0]
        config = json.loads((tmp_path / "joint" / "seed-0" / "config.json").read_text())
        assert config["optimizer"]["lr"] == float(row["setting"][3:7].strip(","))
        # The run of the chosen setting is that of the first seed, and not trained again.
        first = tmp_path / "joint" / "seed-2"
        assert (first / BEST).read_bytes() == (tuned[best] / BEST).read_bytes()
        assert json.loads((first / "result.json").read_text())["run"] == str(first)
    assert "- joint: lr=0.01,momentum=0.5" in (tmp_path / "table.md").read_text()


def test_a_run_that_fails_is_named_and_the_others_go_on(shards, tmp_path):
    arguments = ("--data", shards, "--methods", "multitask,joint", "--modalities", "audio,visual")
    more = ("--set-for", "multitask:lr=1e30", "--out", tmp_path, *SMALL, *VIEW)

    done = run("compare", *arguments, *more)

    assert done.exit_code == 1
    assert f"- {tmp_path}/multitask/seed-0: the loss is " in done.stdout
    first, second = done.stdout.splitlines()[2:4]
    assert first.replace(" ", "").startswith("|multitask|0|1x4|-|-|-|-|-|-|")
    assert second.startswith("| joint     |     1 |          1 x 4 |")
    done = run("compare", *arguments, *more, "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout) == json.loads((tmp_path / "table.json").read_text())


def test_a_grid_that_fails_altogether_leaves_the_others(shards, tmp_path):
    found = compare(contest(shards, "joint", tune=("lr=1e30,1e31",)), tmp_path)
    assert found["rows"][0]["seeds"] == []
    assert found["rows"][0]["accuracy"] is None
    assert [Path(each["run"]).name for each in found["failed"]] == ["lr=1e30", "lr=1e31"]


def test_a_request_to_stop_stops_them_all(shards, tmp_path):
    class Now:
        def __init__(self, epochs): ...
        def __enter__(self):
            return self

        def __exit__(self, *_): ...
        def step(self, epoch, step, steps, said):
            if step == 1:
                signal.raise_signal(signal.SIGTERM)

        def epoch(self, line): ...

    given = contest(shards, "joint", "multitask")
    with pytest.raises(Interrupted, match=r"run 1 of 2, .*joint/seed-0\. The same command goes on"):
        compare(given, tmp_path, Now)
    assert not (tmp_path / "multitask").exists()


def test_a_folder_that_holds_another_run_stops_before_anything(held, shards):
    _, folder, _ = held
    before = times(folder)
    given = contest(shards, "joint", "multitask", seeds=(9, 0), settings=("lr=0.3",))
    with pytest.raises(ConfigError, match=r"joint/seed-0 holds another run: optimizer\.lr 0\.05"):
        compare(given, folder)
    assert times(folder) == before
    assert not (folder / "joint" / "seed-9").exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--methods", "jiont"), "did you mean joint"),
        (("--methods", ""), "methods are one or more"),
        (("--methods", "joint,joint"), "each once"),
        (
            ("--methods", "joint", "--seeds", "0,x"),
            "--seeds takes numbers such as 0,1,2 or the range 0-2; got 'x'",
        ),
        (("--methods", "joint", "--seeds", "-1"), "seed is in"),
        (("--methods", "joint", "--set", "seed=2"), "joint: seed cannot be set"),
        (("--methods", "joint", "--set", "unimodal=2"), "joint: no parameter 'unimodal'"),
        (("--methods", "joint", "--set-for", "lr=2"), "METHOD:KEY=VALUE"),
        (("--methods", "joint", "--set-for", "multitask:lr=2"), "no method of --methods"),
        (("--methods", "joint", "--tune", "lr"), "KEY=V1,V2"),
        (("--methods", "joint", "--curriculum", "unifrom"), "did you mean uniform"),
        (("--methods", "joint", "--baseline", "jiont"), "no row of this comparison"),
    ],
)
def test_wrong_requests(shards, tmp_path, more, said):
    done = run("compare", "--data", shards, *more, *SMALL, *VIEW, "--out", tmp_path / "out")
    assert done.exit_code == 2, done.output
    assert said in done.stderr
    assert not (tmp_path / "out").exists()


def test_data_must_be_named(tmp_path):
    done = run("compare", "--methods", "joint", "--out", tmp_path)
    assert done.exit_code == 2
    assert "--data is needed" in done.stderr


def test_methods_are_compared_by_the_measures_of_the_task(task_shards, tmp_path):
    base = tiny(task_shards("regression"), epochs=1)

    found = compare(Contest(base=base, methods=("joint", "ogm")), tmp_path)

    (joint, refused) = found["rows"]
    assert joint["mae"]["mean"] > 0
    assert set(joint["modalities"]["audio"]) == {"mae"}
    assert refused["label"] == "ogm"
    assert "ogm needs probabilities of classes" in found["failed"][0]["error"]
    page = (tmp_path / "table.md").read_text()
    head = [cell.strip() for cell in page.splitlines()[0].strip("|").split("|")]
    assert {"MAE", "Corr", "Acc-7"} <= {*head}
    assert "accuracy" not in head
    assert f" {joint['mae']['mean']:.3f} " in page
    assert "Percent, but for MAE and Corr, on test" in page


def test_a_grid_is_chosen_by_the_lowest_error(task_shards, tmp_path):
    base = tiny(task_shards("regression"), epochs=1)

    (row,) = compare(Contest(base=base, methods=("joint",), tune=("lr=0.0001,0.05",)), tmp_path)[
        "rows"
    ]

    errors = {
        path.name: json.loads((path / "result.json").read_text())["val"]["mae"]
        for path in (tmp_path / "joint" / "tune").iterdir()
    }
    assert row["setting"] == min(errors, key=errors.get)
