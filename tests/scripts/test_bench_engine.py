"""The benchmark of the engine stands in for a feed, so it breaks when feeds change."""

from bench_engine import measure, start

from mmtrain.config.run import TrainConfig, ViewConfig
from tests.support.shardmaker import Recipe, make_shards


def test_every_step_of_the_engine_has_one_of_the_bare_loop_beside_it(tmp_path):
    make_shards(tmp_path, Recipe(samples=36, frames=1, size=(32, 32), columns=40))
    config = TrainConfig(
        data=str(tmp_path),
        encoder="small-cnn",
        batch_size=4,
        epochs=3,
        view=ViewConfig(frames=1, size=16),
    )
    found = measure(config, steps=2)

    assert found["pairs"] == 4  # the first epoch warms up
    assert found["engine_ms"] > 0
    assert found["bare_ms"] > 0

    assert start(config, 400)["rows"] == 400
