import json
import re
import shutil

import h5py
import numpy as np
import pytest

from mmtrain.config.run import OptimizerConfig, TrainConfig, ViewConfig
from mmtrain.data import SampleOrder, open_dataset
from mmtrain.errors import DataError
from mmtrain.report import write
from mmtrain.report.runs.read import read_runs
from mmtrain.report.tensorboard import scalars
from mmtrain.training import scores
from mmtrain.training.train import train
from tests.support.reportwork import CLASSES, Page, evaluation, make_run, probe


def page_of(tmp_path, *runs, data=None):
    path = tmp_path / "pages" / "report.html"
    write(runs, path, data)
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    # Nothing may be fetched: all addresses are places in the page, or the picture itself.
    assert all(address.startswith(("#", "data:image/")) for address in page.addresses)
    assert "script" not in page.tags
    assert not re.search(r'="-?(nan|inf)"', text)
    return page


def scored(folder, shards, epochs=4, online=False):
    """Scores as a curriculum writes them; ``online`` has none before the first epoch."""
    with open_dataset(shards) as dataset:
        ids = dataset.ids("train")
        generator = np.random.default_rng(0)
        for epoch in range(epochs):
            row = {
                name: generator.random(len(ids)).astype(np.float32)
                for name in ("score", "similarity", "loss")
            }
            row["measured"] = np.full(len(ids), epoch - online, np.int16)
            if online and epoch == 0:
                row |= {name: np.full_like(row[name], np.nan) for name in row if name != "measured"}
            order = SampleOrder(generator.permutation(ids)[: len(ids) - 9 + 3 * epoch])
            scores.write(folder, epoch, dataset, ids, row, order)
    return folder


def test_several_runs_side_by_side(tmp_path):
    runs = [
        make_run(tmp_path / "joint-0", test=0.4),
        make_run(tmp_path / "joint-1", test=0.6, seed=1),
        make_run(tmp_path / "ogm", test=0.9, method="ogm", settings={"method": {"alpha": 0.3}}),
        make_run(tmp_path / "late", method="late", test=None, epochs=9),
    ]
    text = page_of(tmp_path, *runs).text
    assert "50.00 ± 14.14" in text
    assert "2 seeds (0, 1)" in text
    assert "late: in progress, epoch 2 of 9 done" in text
    assert "settings.method - alpha 0.3 -" in text
    assert "accuracy, val (%), own logits of audio" in text
    assert "k: ogm" in text
    # All are equal on val, and the first of equals is chosen whatever test says.
    assert "test accuracy of the best on val 50.00 ± 14.14 % joint" in text
    assert "loss, train, joint" in text
    assert "loss, train, ogm" in text
    assert "k : factor on the gradient" in text
    for setting in ("batch_size 64", "optimizer.lr 0.01", "data nowhere"):
        assert setting in text


def test_one_run_has_its_heads_in_one_chart(tmp_path):
    text = page_of(tmp_path, make_run(tmp_path / "a")).text
    assert "fused own logits of audio own logits of visual" in text
    assert "alone" not in text.replace("--alone RUN", "")
    assert "What differs" not in text
    assert "mmtrain eval" in text
    assert f"mmtrain probe {tmp_path / 'a'}" in text
    assert "No run has scores.h5" in text


def test_three_modalities_and_one(tmp_path):
    three = make_run(tmp_path / "three", modalities=("audio", "visual", "flow"))
    one = make_run(tmp_path / "one", modalities=("flow",))
    page = page_of(tmp_path, three, one)
    for modality in ("audio", "visual", "flow"):
        assert f"mAP, val (%), own logits of {modality}" in page.text
    assert "flow-alone" in page.text
    assert "unimodal models" in page.text


def test_a_run_that_has_just_begun(tmp_path):
    run = make_run(tmp_path / "a", test=None)
    (run / "metrics.jsonl").write_text("")
    assert "in progress, epoch 0 of 100 done" in page_of(tmp_path, run).text


def test_no_validation_split(tmp_path):
    run = make_run(tmp_path / "a")
    plain = [
        json.loads(line) | {"val": None}
        for line in (run / "metrics.jsonl").read_text().splitlines()
    ]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in plain))
    result = json.loads((run / "result.json").read_text())
    (run / "result.json").write_text(json.dumps(result | {"val": None}))
    text = page_of(tmp_path, run).text
    assert "There is no val split" in text
    assert "40.00" in text


def test_what_eval_and_probe_found(tmp_path):
    runs = [make_run(tmp_path / f"s{seed}", seed=seed) for seed in range(2)]
    (runs[0] / "eval-test.json").write_text(json.dumps(evaluation()))
    (runs[0] / "probe-val.json").write_text(json.dumps(probe()))
    page = page_of(tmp_path, *runs)
    assert "test split, 16 samples" in page.text
    for name in CLASSES:
        assert name in page.text
    # 3 of 4 samples of each class are right, and 1 is taken for the next.
    assert 'low a "loud" <b>bark</b> & more 1 25.0%' in page.text
    assert "accuracy without audio (%)" in page.text
    assert "accuracy without audio and visual (%)" in page.text
    assert "10 % of audio, 30 % of visual 40.00" in page.text
    assert "accuracy without visual, where 10 % lack audio (%)" in page.text
    assert "accuracy with noise on audio (%)" in page.text
    assert "audio 0.5 40.00" in page.text
    assert "val split (%)" in page.text
    assert "joint audio 50.00 60.00 40.00 30.00 90.00 40.00" in page.text
    assert "joint visual 50.00 60.00 40.00 30.00 - -" in page.text
    assert "mmtrain eval was not run on 1 of the 2 runs" in page.text
    assert f"mmtrain eval {runs[1]}" in page.text
    assert f"mmtrain eval {runs[0]}" not in page.text


def test_probes_of_training_are_drawn_over_the_epochs(tmp_path):
    runs = [make_run(tmp_path / f"s{seed}", seed=seed) for seed in range(2)]
    assert "Over the epochs" not in page_of(tmp_path, *runs).text
    lines = [
        {"epoch": 5 * i, "split": "val", "accuracy": {"audio": 0.5, "visual": i / 4}}
        for i in (1, 2)
    ]
    for each in runs:
        (each / "probes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    page = page_of(tmp_path, *runs)
    assert "probe of audio: accuracy, val (%)" in page.text
    assert "probe of visual: accuracy, val (%)" in page.text
    assert [each for each in scalars(read_runs(runs)[0]) if each[0].startswith("probe/")] == [
        *(("probe/audio", 0.5, 5), ("probe/visual", 0.25, 5)),
        *(("probe/audio", 0.5, 10), ("probe/visual", 0.5, 10)),
    ]


def test_runs_of_other_classes_are_not_put_on_one_axis(tmp_path):
    runs = [make_run(tmp_path / "a"), make_run(tmp_path / "b", method="other")]
    (runs[0] / "eval-test.json").write_text(json.dumps(evaluation()))
    (runs[1] / "eval-test.json").write_text(json.dumps(evaluation(names=("x", "y", "z"))))
    assert "The runs have different classes" in page_of(tmp_path, *runs).text


@pytest.mark.parametrize("online", [False, True])
def test_what_the_curriculum_did(tmp_path, shards, online):
    modalities = ("audio", "visual", "flow")
    run = make_run(tmp_path / "a", data=shards, curriculum="bss-l", modalities=modalities)
    page = page_of(tmp_path, scored(run, shards, online=online))
    assert "18 samples, 4 epochs." in page.text
    for title in (
        "score by epoch",
        "rank correlation of each epoch's score with",
        "score of each sample in the first and in the last epoch",
        "score : the value by which the curriculum orders samples",
        "age of the scores",
        "samples that were shown",
        "samples by their visits",
        "visits of a class, relative to its share",
        "Hardest: the lowest score",
        "Most imbalanced",
    ):
        assert title in page.text
    pictures = [address for address in page.addresses if address.startswith("data:image/jpeg")]
    assert len(pictures) == 2 * 6 * len(modalities)


def test_the_hardest_sample_comes_first(tmp_path, shards):
    run = make_run(tmp_path / "a", data=shards, curriculum="bss-l")
    scored(run, shards)
    columns = scores.read(run / "scores.h5")
    hardest = columns["key"][columns["score"][-1].argmin()].decode()
    text = page_of(tmp_path, run).text
    first = text.partition("Hardest: the lowest score of the last epoch")[2].split(":")[0]
    assert first.endswith(hardest)


def test_shards_that_have_moved(tmp_path, shards):
    run = make_run(tmp_path / "a", data=tmp_path / "gone", curriculum="bss-l")
    scored(run, shards)
    text = page_of(tmp_path, run).text
    assert "pictures of samples are left out" in text
    assert "give their place with --data" in text
    assert "score by epoch" in text
    assert "Hardest" in page_of(tmp_path, run, data=str(shards)).text


def test_shards_of_other_samples_are_not_shown(tmp_path, shards):
    run = make_run(tmp_path / "a", data=shards, curriculum="bss-l")
    scored(run, shards)
    with h5py.File(run / "scores.h5", "r+") as file:
        keys = file["key"][:]
        keys[0] = b"stranger"
        file["key"][:] = keys
    assert "lacks samples that have scores" in page_of(tmp_path, run).text


def test_a_damaged_sample_leaves_its_pictures_out(tmp_path, shards):
    copy = tmp_path / "copy"
    shutil.copytree(shards, copy)
    for shard in (copy / "train").iterdir():
        shard.write_bytes(b"\x00" * shard.stat().st_size)
    run = make_run(tmp_path / "a", data=copy, curriculum="bss-l")
    text = page_of(tmp_path, scored(run, copy)).text
    assert "Pictures are left out, because a sample cannot be read" in text


def test_a_page_that_cannot_be_made_leaves_the_old_one(tmp_path):
    run = make_run(tmp_path / "a")
    write([run], tmp_path / "report.html")
    before = (tmp_path / "report.html").read_bytes()
    (run / "result.json").write_text("{")
    with pytest.raises(DataError, match=r"result\.json"):
        write([run], tmp_path / "report.html")
    assert (tmp_path / "report.html").read_bytes() == before


def test_a_run_that_was_trained(tmp_path, shards):
    config = TrainConfig(
        data=str(shards),
        encoder="small-cnn",
        epochs=2,
        batch_size=4,
        device="cpu",
        workers=1,
        view=ViewConfig(frames=1, size=32),
        optimizer=OptimizerConfig(lr=0.05),
        settings={"encoder": {"width": 64}},
    )
    result = train(config, tmp_path / "run")
    text = page_of(tmp_path, tmp_path / "run").text
    assert f"{100 * result['test']['accuracy']:.2f}" in text
    assert "learning rate" in text


def test_no_axis_of_a_norm_or_an_age_goes_below_zero(tmp_path, shards):
    runs = [make_run(tmp_path / f"s{i}", seed=i, data=shards, curriculum="bss-l") for i in (0, 1)]
    for run, norms in zip(runs, ((0.1, 0.1), (2.0, 0.1)), strict=True):
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        for line, norm in zip(lines, norms, strict=True):
            line["logged"] = {"gradient.audio": norm}
        (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        scored(run, shards)
    write(runs, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    for title in ("gradient", "age of the scores, in epochs"):
        picture = text.partition(f"<figcaption>{title}")[2].partition("</figure>")[0]
        ticks = re.findall(r">(-?[\d.]+)</text>", picture)
        assert len(ticks) > 3
        assert not [tick for tick in ticks if tick.startswith("-")]
