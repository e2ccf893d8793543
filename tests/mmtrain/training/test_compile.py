"""`--compile` reaches the encoders, and nothing else of the model."""

import torch

from mmtrain.methods.base import Method
from tests.support.enginework import running, small


class Replacing(Method):
    """Brings encoders of its own, which have to be compiled in the place of the old ones."""

    def setup(self, run):
        run.model.encoders["audio"] = type(run.model.encoders["audio"])(1, width=64)
        run.adopt(run.model.encoders["audio"])


def test_encoders_are_compiled_once_the_method_has_set_up(shards, tmp_path, monkeypatch):
    compiled = []
    # The compiler itself takes longer than the whole run.
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module, **_: compiled.append(module))
    changes = {"modalities": ("audio", "visual"), "epochs": 1}

    with running(small(shards, **changes, compile=True), tmp_path / "on", Replacing()) as run:
        assert compiled == [*run.model.encoders.values()]
    with running(small(shards, **changes), tmp_path / "off"):
        assert len(compiled) == 2
