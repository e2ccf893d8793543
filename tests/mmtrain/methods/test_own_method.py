"""The worked example of the documentation trains."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from mmtrain.config.overrides import resolved
from mmtrain.methods.catalog import METHODS
from mmtrain.training.train import train
from tests.support.enginework import small

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "own_method.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("own_method", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_weights_by_hand(example: ModuleType) -> None:
    # exp(ln 3 / 1) = 3 and exp(0) = 1: shares 3/4 and 1/4, times two modalities.
    found = example.weights({"audio": 1.0986123, "visual": 0.0}, temperature=1.0)

    assert found["audio"] == pytest.approx(1.5)
    assert found["visual"] == pytest.approx(0.5)
    assert example.weights({"a": 2.0, "b": 2.0}, 1.0) == {"a": 1.0, "b": 1.0}


def test_the_example_is_documented_as_methods_must_be() -> None:
    explanation = METHODS.explain(f"{EXAMPLE}:CatchUp")

    assert "``L = CE(f, y) + sum_m" in explanation.text
    assert [p.name for p in explanation.parameters if p.help] == ["temperature", "memory"]


def test_the_example_trains_and_logs(shards: Path, tmp_path: Path) -> None:
    config = small(shards, epochs=1, method=f"{EXAMPLE}:CatchUp")
    train(resolved(config), tmp_path / "run")

    line = json.loads((tmp_path / "run" / "metrics.jsonl").read_text("utf-8").splitlines()[0])
    logged = line["logged"]
    assert logged["weight.audio"] + logged["weight.visual"] == pytest.approx(2, abs=1e-5)
