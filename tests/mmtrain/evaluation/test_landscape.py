import json

import pytest
import torch
from click.testing import CliRunner
from torch import nn

from mmtrain.cli.main import main
from mmtrain.errors import ConfigError
from mmtrain.evaluation.directions import Walk, filter_normalised, random_direction
from mmtrain.evaluation.evaluate import evaluate
from mmtrain.evaluation.landscape import Grid, landscape
from mmtrain.evaluation.open_run import open_run


def run(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def test_filters_of_a_direction_are_as_long_as_those_of_the_weights():
    # Norms 5 and 13 of the direction's filters, 10 and 2 of the weights': factors 2 and 2 / 13.
    direction = torch.tensor([[3.0, 4], [5, 12]])
    weights = torch.tensor([[6.0, 8], [0, 2]])

    scaled = filter_normalised(direction, weights)

    assert torch.allclose(scaled, torch.tensor([[6.0, 8], [10 / 13, 24 / 13]]))
    # All of a filter of a convolution counts, and biases and scales have none.
    kernel = torch.ones(2, 1, 2, 2)
    assert torch.allclose(filter_normalised(3 * kernel, kernel), kernel)
    assert torch.equal(filter_normalised(torch.ones(3), torch.ones(3)), torch.zeros(3))
    assert torch.equal(filter_normalised(torch.zeros(1, 2), torch.ones(1, 2)), torch.zeros(1, 2))


def test_models_of_one_architecture_have_one_direction_and_frozen_weights_none():
    one, other = nn.Linear(3, 2), nn.Linear(3, 2)
    ratio = random_direction(one, 0, 0)["weight"] / random_direction(other, 0, 0)["weight"]
    # The same draw, scaled by filter.
    assert torch.allclose(ratio, ratio[:, :1].expand(2, 3), rtol=1e-4)
    for seed, axis in ((1, 0), (0, 1)):
        second = random_direction(one, seed, axis)["weight"]
        assert not torch.allclose(second, random_direction(one, 0, 0)["weight"])
    one.weight.requires_grad_(False)
    assert list(random_direction(one, 0, 0)) == ["bias"]


def test_a_walk_comes_back():
    model = nn.Linear(2, 1, bias=False)
    middle = model.weight.detach().clone()
    steps = [{"weight": torch.tensor([[1.0, 0]])}, {"weight": torch.tensor([[0, 2.0]])}]
    walk = Walk(model, steps)
    with walk.at((0.5, -1)):
        assert torch.allclose(model.weight, middle + torch.tensor([[0.5, -2]]))
    assert torch.equal(model.weight, middle)


def test_in_the_middle_the_loss_is_that_of_the_run(made, tmp_path, caplog):
    folder = made("audio", "visual")
    plain = evaluate(folder, split="val")
    grid = Grid(axes=2, points=3, extent=0.5)

    with caplog.at_level("INFO"):
        (report,) = landscape([folder], grid).reports

    assert "9 points x 3 batches of 4 = 27 predictions" in caplog.text
    assert report["coordinates"] == [-0.5, 0, 0.5]
    assert report["samples"] == 9
    assert report["loss"]["fused"][1][1] == pytest.approx(plain["loss"], rel=1e-5)
    for modality, own in plain["modalities"].items():
        assert report["loss"][modality][1][1] == pytest.approx(own["loss"], rel=1e-5)
    every = [loss for row in report["loss"]["fused"] for loss in row]
    assert len(set(every)) == 9
    # The first axis comes first: the line through the middle is the landscape of one direction.
    (line,) = landscape([folder], Grid(points=3, extent=0.5)).reports
    across = [row[1] for row in report["loss"]["fused"]]
    assert line["loss"]["fused"] == pytest.approx(across, rel=1e-5)
    assert json.loads((folder / "landscape-val.json").read_text()) == line


def test_the_model_is_as_it_was_and_the_file_is_read_again(made):
    folder = made("audio", "visual")
    with open_run(folder) as finished:
        before = {name: value.clone() for name, value in finished.model.state_dict().items()}
        draw = random_direction(finished.model, 0, 0)
        for name, value in finished.model.state_dict().items():
            assert torch.equal(value, before[name])
        assert list(draw) == [n for n, p in finished.model.named_parameters() if p.requires_grad]
    grid = Grid(points=3, limit=4)
    (first,) = landscape([folder], grid).reports
    written = (folder / "landscape-val.json").stat().st_mtime_ns
    (again,) = landscape([folder], grid).reports
    assert again == first
    assert first["samples"] == 4
    assert (folder / "landscape-val.json").stat().st_mtime_ns == written


@pytest.mark.parametrize(
    ("wrong", "match"),
    [({"points": 4}, "odd"), ({"points": 1}, "odd"), ({"axes": 3}, "1 or 2"), ({"extent": 0}, "0")],
)
def test_grids_that_are_none(wrong, match):
    with pytest.raises(ConfigError, match=match):
        Grid(**wrong)


@pytest.mark.parametrize("axes", [1, 2])
def test_the_command(made, tmp_path, axes):
    folders = made("audio", "visual"), made("flow")
    picture = tmp_path / "figures" / "a.png"
    options = ("--axes", axes, "--points", 3, "--limit", 4)

    done = run("landscape", *folders, "--png", picture, *options, "--json")

    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert [report["run"] for report in found["runs"]] == [str(folder) for folder in folders]
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert run("landscape", folders[0], "--png", tmp_path / "a.gif").exit_code == 2
    assert run("landscape", folders[0], "--png", picture, "--points", 4).exit_code == 2
