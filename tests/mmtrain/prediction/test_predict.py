import csv
import io
import json
import shutil
import wave

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from mmtrain.cli.main import main
from mmtrain.errors import ConfigError, UnknownName
from mmtrain.evaluation.evaluate import predictions
from mmtrain.evaluation.open_run import open_run
from mmtrain.prediction.clips import PrepareOptions
from mmtrain.prediction.predict import PredictOptions, predict
from mmtrain.prediction.predictor import load
from tests.support.builds import LABELS, rows_of
from tests.support.media import write_clip

ONE = PrepareOptions(workers=1)


def run(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def evaluated(trained):
    """Key to the fused probabilities and those by modality, as an evaluation has them."""
    with open_run(trained) as opened:
        found = predictions(opened, "train")
        keys = [opened.feed.dataset.key(int(i)) for i in found.ids]
    fused = found.fused.double().softmax(-1)
    own = {m: z.double().softmax(-1) for m, z in found.by_modality.items()}
    return {
        key: (fused[i].tolist(), {m: p[i].tolist() for m, p in own.items()})
        for i, key in enumerate(keys)
    }


@pytest.fixture
def moved(trained, tmp_path):
    """The run in another place, whose shards are gone."""
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "data": str(tmp_path / "gone")}))
    return folder


def probabilities(answer):
    return [answer["probabilities"][label] for label in sorted(LABELS)]


def close_to(answer, fused, own, classes):
    order = [classes.index(label) for label in sorted(LABELS)]
    assert probabilities(answer) == pytest.approx([fused[c] for c in order], abs=1e-5)
    for modality, values in own.items():
        found = probabilities(answer["modalities"][modality])
        assert found == pytest.approx([values[c] for c in order], abs=1e-5)


def test_raw_clips_are_predicted_as_their_samples_are_evaluated(moved, raw, evaluated):
    rows = {str(raw / row.source): row.key for row in rows_of() if row.split == "train"}

    report = predict(moved, [*rows], PredictOptions(preparation=ONE))

    assert [each["clip"] for each in report["predictions"]] == [*rows]
    assert report["failures"] == []
    for each in report["predictions"]:
        fused, own = evaluated[rows[each["clip"]]]
        close_to(each, fused, own, report["classes"])
        top = max(range(3), key=fused.__getitem__)
        assert each["prediction"] == report["classes"][top]
        assert each["decided"] == max(own, key=lambda m: own[m][top])
        assert each["missing"] == []


def test_shards_are_predicted_as_they_are_evaluated(trained, built, evaluated):
    done = run("predict", trained, built, "--split", "train", "--json")

    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert [each["clip"] for each in report["predictions"]] == [*evaluated]
    for each in report["predictions"]:
        close_to(each, *evaluated[each["clip"]], report["classes"])


def test_clips_without_sound_or_picture_and_damaged_ones(trained, raw, tmp_path):
    whole = raw / rows_of()[0].source
    folder = tmp_path / "clips"
    write_clip(folder / "silent.mp4", seconds=1.0, sound=np.zeros(0, np.int16))
    write_clip(folder / "sound.wav", seconds=1.0, video=False, audio_codec="pcm_s16le")
    (folder / "damaged.mp4").write_bytes(b"no media at all")
    with wave.open(str(folder / "nothing.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
    shutil.copy(whole, folder / "whole.mp4")

    done = run("predict", trained, folder, "--workers", 1, "--json")

    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    found = {each["clip"].rpartition("/")[2]: each for each in report["predictions"]}
    assert [(name, each["missing"]) for name, each in found.items()] == [
        ("silent.mp4", ["audio"]),
        ("sound.wav", ["visual"]),
        ("whole.mp4", []),
    ]
    assert found["silent.mp4"]["decided"] == "visual"
    assert [*found["sound.wav"]["modalities"]] == ["audio"]
    assert [(each["clip"], each["cause"]) for each in report["failures"]] == [
        (str(folder / "damaged.mp4"), "not-media"),
        (str(folder / "nothing.wav"), "no-audio"),
    ]

    done = run("predict", trained, whole, folder / "damaged.mp4", "--without", "sound",
               "--csv", "--max-failed", 0)  # fmt: skip

    assert done.exit_code == 3
    assert "1 of 2 clips failed" in done.stderr
    (line,) = csv.DictReader(io.StringIO(done.stdout))
    assert (line["clip"], line["missing"], line["decided"]) == (str(whole), "audio", "visual")
    assert line["audio_prediction"] == ""
    assert line["prediction"] in LABELS


def test_what_a_clip_lacks_is_hidden_from_the_model(trained):
    model = load(trained)
    frames = torch.randint(0, 256, (2, 1, 3, 32, 32), dtype=torch.uint8)
    sound = torch.randn(2, *model.facts.inputs["audio"].shape).half()
    there = torch.tensor([True, False])

    both = model.predict({"audio": sound, "visual": frames}, {"audio": there})
    alone = model.predict({"visual": frames})

    assert torch.allclose(both.fused[1], alone.fused[1])
    assert not torch.allclose(both.fused[0], alone.fused[0])
    assert alone.decided == ["visual", "visual"]
    assert both.fused.sum(1).tolist() == pytest.approx([1, 1])


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "no modality is given"),
        ({"flow": torch.zeros(1)}, "no modality of this model 'flow'"),
        ({"visual": torch.zeros(1, 3, 32, 32)}, r"takes \(1, 1, 3, 32, 32\) of torch.uint8"),
    ],
)
def test_wrong_tensors_are_refused(trained, inputs, message):
    with pytest.raises(ConfigError, match=message):
        load(trained).predict(inputs)


def test_the_table_has_a_line_a_clip(trained, built):
    done = run("predict", trained, built, "--split", "test", "--top", 2)

    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0] == f"{trained}: joint, 2 clips"
    assert lines[2].split() == ["prediction", "audio", "visual", "decided", "clip"]
    assert [line.split()[-1] for line in lines[3:]] == ["k005", "k011"]


def test_wrong_requests(trained, built, raw, tmp_path):
    def refused(*places, error=ConfigError, **options):
        with pytest.raises(error) as caught:
            predict(trained, [str(p) for p in places], PredictOptions(**options))
        return str(caught.value)

    (tmp_path / "notes.md").write_text("no clip")
    assert "no clip there" in refused(tmp_path)
    assert "no such file or folder" in refused(tmp_path / "absent.mp4")
    assert "leaves nothing to predict by" in refused(built, without=("audio", "video"))
    assert "'flow'" in refused(built, without=("flow",), error=UnknownName)
    assert "no text of this run 'text'" in refused(raw, texts={"text": "x"}, error=UnknownName)
    assert run("predict", trained, built, "--csv", "--json").exit_code == 2


def test_a_run_of_an_older_version_looks_at_its_data(trained, moved, built):
    (moved / "preparation.json").unlink()

    with pytest.raises(ConfigError, match=r"has no preparation\.json, which earlier versions"):
        load(moved)

    found, expected = (
        predict(folder, [str(built)], PredictOptions(data=str(built)))["predictions"]
        for folder in (moved, trained)
    )
    assert found == expected


@pytest.mark.parametrize("task", ["regression", "localisation"])
def test_other_tasks_are_predicted_from_shards(task_shards, task_run, task):
    folder, shards = task_run(task), task_shards(task)
    with open_run(folder) as opened:
        fused = predictions(opened, "test").fused

    report = predict(folder, [str(shards)])

    assert report["task"] == task
    for each, row in zip(report["predictions"], fused, strict=True):
        assert each["decided"] in ("audio", "flow")
        if task == "regression":
            assert each["score"] == pytest.approx(row.item(), abs=1e-5)
        else:
            best = row.view(4, -1).argmax(-1).tolist()
            names = [report["classes"][c] for c in best]
            assert [segment["prediction"] for segment in each["segments"]] == names
    with pytest.raises(ConfigError, match=r"parameters with which the .* are not known"):
        predict(folder, [__file__])
