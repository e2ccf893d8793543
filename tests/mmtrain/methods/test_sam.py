import pytest
import torch
from torch.nn import functional as F

from mmtrain.config.run import OptimizerConfig
from mmtrain.errors import ConfigError
from mmtrain.methods.base import Method
from mmtrain.methods.sam import SAM
from tests.support.enginework import lines, running, small
from tests.support.methodwork import batch_normalised

PLAIN = OptimizerConfig(lr=0.1, momentum=0, weight_decay=0)


def stepped(run):
    """The state of the model after one step, by name."""
    run.model.train()
    run.method.step(run, next(run.batches("train")))
    return run.model.state_dict()


@pytest.mark.parametrize("modalities", [("audio", "visual"), ("audio", "visual", "flow")])
def test_a_step_goes_back_and_takes_the_gradient_of_the_worst_point(shards, tmp_path, modalities):
    config = small(shards, optimizer=PLAIN, modalities=modalities)
    with running(config, tmp_path / "joint") as run:
        batch = next(run.batches("train"))
        own = [*run.model.parameters()]
        before = [p.detach().clone() for p in own]

        def gradients():
            return run.gradients(F.cross_entropy(run.model(batch).fused, batch.target), run.model)

        here = gradients()
        norm = torch.cat([g.flatten() for g in here]).norm()
        with torch.no_grad():
            for p, g in zip(own, here, strict=True):
                p.add_(0.5 * g / norm)
        expected = [w - 0.1 * g for w, g in zip(before, gradients(), strict=True)]

    with running(config, tmp_path / "sam", SAM(radius=0.5)) as run:
        stepped(run)
        for p, e in zip(run.model.parameters(), expected, strict=True):
            assert torch.allclose(p, e, atol=1e-6)


def test_weights_that_do_not_move_are_bit_for_bit_what_they_were(shards, tmp_path):
    config = small(shards, optimizer=OptimizerConfig(lr=1e-30, momentum=0, weight_decay=0))
    with running(config, tmp_path, SAM(radius=10.0)) as run:
        before = {name: value.clone() for name, value in run.model.state_dict().items()}
        for name, value in stepped(run).items():
            away = before[name] != 0  # From 0, any step is one.
            assert torch.equal(value[away], before[name][away]), name


def test_batch_normalisation_sees_a_step_once(shards, tmp_path):
    config = small(shards, optimizer=PLAIN)
    with running(config, tmp_path / "joint", batch_normalised(Method())) as run:
        joint = {n: value.clone() for n, value in stepped(run).items()}
    with running(config, tmp_path / "sam", batch_normalised(SAM())) as run:
        sam = stepped(run)

    buffers = [name for name in sam if ".running_" in name or name.endswith("tracked")]
    assert len(buffers) == 2 * 4 * 3
    assert all(torch.equal(sam[name], joint[name]) for name in buffers)
    assert not torch.equal(sam["fusion.head.weight"], joint["fusion.head.weight"])


def test_sharpness_is_logged(shards, tmp_path):
    method = SAM(radius=1e-3)
    with running(small(shards), tmp_path, method) as run:
        method.fit(run)
    assert all(line["logged"]["sharpness"] > 0 for line in lines(tmp_path))


def test_a_ball_without_a_radius_is_refused():
    with pytest.raises(ConfigError, match=r"radius is above 0; got 0\.0\. Without it: joint"):
        SAM(radius=0.0)
