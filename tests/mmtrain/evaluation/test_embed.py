import csv
import json

import numpy as np
import pytest
from click.testing import CliRunner

from mmtrain.cli.main import main
from mmtrain.errors import ConfigError
from mmtrain.evaluation.embed import effective_rank, embed, plane
from mmtrain.evaluation.embed_figure import figure_of
from mmtrain.evaluation.open_run import open_run
from mmtrain.evaluation.sampling import sample_ids
from mmtrain.training.linear_probe import features_of


def run(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def test_the_effective_rank_by_hand():
    assert effective_rank(np.array([2.0, 2.0, 2.0])) == pytest.approx(3)
    assert effective_rank(np.array([5.0, 0.0])) == pytest.approx(1)
    # Shares 3/4 and 1/4: exp(3/4 ln(4/3) + 1/4 ln 4) = 4 / 3^(3/4).
    assert effective_rank(np.array([3.0, 1.0])) == pytest.approx(4 / 3**0.75)
    assert effective_rank(np.zeros(3)) == 0


def test_samples_near_each_other_stay_so_and_a_seed_is_repeated():
    noise = np.random.default_rng(0).normal(0, 0.1, (20, 3))
    blobs = noise + 10 * np.repeat([[0, 0, 0], [1, 1, 0]], 10, axis=0)
    points = plane(blobs, 0)
    assert np.array_equal(points, plane(blobs, 0))
    middles = points[:10].mean(0), points[10:].mean(0)
    spread = max(points[:10].std(), points[10:].std())
    assert np.linalg.norm(middles[0] - middles[1]) > spread
    # Features without any spread, and of one direction, are points too.
    assert np.isfinite(plane(np.zeros((6, 1)), 0)).all()


def test_a_draw_of_samples():
    ids = np.arange(100, 200)
    assert sample_ids(ids, 100, 0) is ids
    few = sample_ids(ids, 10, 0)
    assert len(set(few.tolist())) == 10
    assert np.array_equal(few, np.sort(few))
    assert np.array_equal(few, sample_ids(ids, 10, 0))
    assert not np.array_equal(few, sample_ids(ids, 10, 1))


def test_features_in_the_plane_and_their_singular_values(made):
    folder = made("audio", "visual")
    with open_run(folder) as finished:
        _, examples = features_of(finished.evaluation, "test")
    features = np.concatenate([e.features.double().numpy() for e in examples.values()], axis=1)
    values = np.linalg.svd(features - features.mean(0), compute_uv=False)

    first, alone = embed([folder, made("flow")]).reports

    assert list(first["parts"]) == ["fused", "audio", "visual"]
    assert list(alone["parts"]) == ["flow"]
    fused = first["parts"]["fused"]
    assert fused["width"] == 128
    assert fused["singular_values"] == pytest.approx((values / 3).tolist(), abs=1e-6)
    assert fused["effective_rank"] == pytest.approx(effective_rank(values))
    assert np.array(fused["points"]).shape == (9, 2)
    assert first["classes"] == ["low", "mid", "high"]
    assert sorted(set(first["labels"])) == [0, 1, 2]
    # Two rows of fused, three modalities, and the spectrum.
    assert len(figure_of([first, alone]).axes) == 10
    with pytest.raises(ConfigError, match="too few to embed"):
        embed([folder], limit=3)


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_the_command(made, tmp_path, ending):
    picture, table = tmp_path / f"a.{ending}", tmp_path / "points.csv"

    done = run("embed", made("flow"), "--png", picture, "--csv", table, "--limit", 6, "--json")

    assert done.exit_code == 0, done.output
    (report,) = json.loads(done.stdout)["runs"]
    assert report["samples"] == 6
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [row["key"] for row in rows] == report["keys"]
    assert rows[0]["class"] == report["classes"][report["labels"][0]]
    assert picture.stat().st_size > 1000
    assert run("embed", made("flow"), "--png", tmp_path / "a.bmp").exit_code == 2
