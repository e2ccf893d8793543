import pytest
import torch

from mmtrain.errors import ConfigError
from mmtrain.methods.base import Method
from mmtrain.methods.catalog import METHODS
from mmtrain.prediction import rebuild
from mmtrain.prediction.export import export
from mmtrain.prediction.predictor import load
from mmtrain.training.parts import facts_of
from tests.support.enginework import first, running, small

# Methods whose setup or prediction differs from each other's; `greedy` needs its fusion.
CHANGING = (
    *("aug", "cggm", "di-mml", "igm", "iprm", "mla", "mmcosine", "olm", "reconboost", "tmc"),
    *("g-blend", "relearning", "ume"),
)


def untrained(config, folder, method=None):
    """A run that looks finished; a batch, and what it predicts for it."""
    with running(config, folder, method) as run:
        facts_of(run.config, run.feed.dataset).write(folder)
        run.best = {"epoch": 0, "val": None}
        run._save_best()
        batch = first(run)
        run.model.eval()
        with torch.no_grad():
            expected = run.method.predict(run.model, batch)
    (folder / "result.json").write_text('{"test": null}')
    return batch, expected


@pytest.mark.parametrize("name", CHANGING)
def test_a_method_is_rebuilt_without_its_data(shards, tmp_path, name):
    config = small(shards, method=name, modalities=("audio", "visual"), epochs=60)
    batch, expected = untrained(config, tmp_path, METHODS.load(name)())

    found = load(tmp_path).predict(batch)

    assert torch.equal(found.logits, expected.fused.float())


def test_a_method_that_looks_at_data_in_its_setup_is_refused(shards, tmp_path):
    class Looks(Method):
        def setup(self, run):
            run.score(lambda batch: batch.target)

    with running(small(shards, modalities=("audio",)), tmp_path) as run:
        facts = facts_of(run.config, run.feed.dataset)
    blank = rebuild.rebuild(run.config, facts, None, torch.device("cpu"))
    with pytest.raises(ConfigError, match="joint calls score of its run in `setup`"):
        Looks().setup(blank)


def test_a_teacher_may_be_gone_once_its_pupil_is_exported(shards, tmp_path):
    for modality in ("audio", "visual"):
        untrained(small(shards, modalities=(modality,)), tmp_path / modality)
    settings = {
        "encoder": {"width": 64},
        "method": {"teachers": (str(tmp_path / "audio"), str(tmp_path / "visual"))},
    }
    config = small(shards, method="ume", settings=settings, modalities=("audio", "visual"))
    untrained(config, tmp_path / "run", METHODS.load("ume")(**settings["method"]))
    expected = load(tmp_path / "run")
    export(tmp_path / "run", tmp_path / "export", programs=False)
    for modality in ("audio", "visual"):
        (tmp_path / modality).rename(tmp_path / f"gone-{modality}")

    found = load(tmp_path / "export")

    inputs = {m: expected.blank(m, 2) for m in expected.modalities}
    assert torch.equal(found.predict(inputs).logits, expected.predict(inputs).logits)
