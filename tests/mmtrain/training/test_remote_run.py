"""Training on shards that lie elsewhere."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mmtrain.cli.main import main
from tests.support import webserver
from tests.support.enginework import lines
from tests.support.faultproxy import Fault, FaultProxy

pytestmark = pytest.mark.network
SMALL = ("--encoder", "small-cnn", "--epochs", "2", "--batch-size", "4", "--device", "cpu")
VIEW = ("--set", "view.frames=1", "--set", "view.size=32", "--set", "width=64", "--workers", "1")


def train(out: Path, *more: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in ("train", "--out", out, *more)])


def learnt(folder: Path) -> list[dict[str, Any]]:
    """Metrics, without what was read."""
    return [{**line, "logged": None} for line in lines(folder)]


@pytest.fixture(scope="module")
def local(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Metrics of a run from disk."""
    out = tmp_path_factory.mktemp("local") / "run"
    done = train(out, "--data", shards, *SMALL, *VIEW)
    assert done.exit_code == 0, done.output
    return learnt(out)


def test_shards_behind_an_address_give_the_same_run(
    shards: Path, local: list[dict[str, Any]], tmp_path: Path
) -> None:
    with webserver.serving(shards) as address:
        cache = ("--cache", tmp_path / "cache", "--cache-size", "0.02GB")
        done = train(tmp_path / "run", "--data", address, *cache, *SMALL, *VIEW)
    assert done.exit_code == 0, done.output
    assert learnt(tmp_path / "run") == local
    assert json.loads((tmp_path / "run/config.json").read_text())["cache_size"] == 20_000_000
    first, second = (line["logged"] for line in lines(tmp_path / "run"))
    # A sound and a frame of each of 18 samples; the second epoch finds every sound in the cache.
    assert first["read_bytes"] > 0
    assert first["read_cache_hits"] < 5
    assert second["read_cache_hits"] >= 18
    assert second["read_bytes"] < first["read_bytes"]


def test_a_run_that_lost_its_store_goes_on_when_it_is_back(
    shards: Path, local: list[dict[str, Any]], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    with webserver.serving(shards) as upstream, FaultProxy(upstream) as proxy:
        proxy.faults = (Fault(kind="403", only="train/", share=0.2, times=None),)
        done = train(out, "--data", proxy.address, *SMALL, *VIEW, "--set", "save_every_steps=1")
        assert done.exit_code == 1
        assert f"cannot read {proxy.address}/train/000000.tar" in done.stderr
        assert "sample clip_" in done.stderr
        proxy.clear()
        done = train(out, "--resume", "--cache", tmp_path / "cache")
    assert done.exit_code == 0, done.output
    assert learnt(out) == local


def test_a_size_that_is_none_is_a_wrong_request(tmp_path: Path) -> None:
    done = train(tmp_path / "run", "--data", "shards", "--cache-size", "much")
    assert done.exit_code == 2
    assert "'much' is not a size such as 500MB or 20GB" in done.stderr
