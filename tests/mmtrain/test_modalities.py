"""The table of modalities is all that a new one edits, besides its decoder and preparation."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from mmprep.format.parts import PARTS
from mmprep.storage.store import LocalStore
from mmtrain.data import ForeignStream, OrderedStream, SampleOrder, View, open_dataset
from mmtrain.data.batches.array import array_header
from mmtrain.data.batches.decode import PartSource
from mmtrain.data.batches.view import Draws
from mmtrain.data.foreign import Layout
from mmtrain.data.reading.local import Bytes
from mmtrain.errors import ConfigError, UnknownName
from mmtrain.modalities import MODALITIES, Modality, load, modality
from mmtrain.models.encoders.base import Encoder
from mmtrain.models.fusions.concat import Concat
from mmtrain.models.inputs import Preparation, preparation
from mmtrain.models.multimodal import MultimodalModel
from mmtrain.report.sections.samples import _DRAW
from mmtrain.types import Batch
from tests.support import ROOT
from tests.support.streammaker import CLASSES, make_data

PAD = 7
VIEW = View(frames=2, size=16)


class CodesDecoder:
    """Signs of the first six values of a spectrogram, (B, 6) int64, like tokens of a text."""

    dtype = torch.int64
    blank = PAD
    shape = (6,)

    def __init__(self, source: PartSource) -> None:
        self.part = source.part

    def members(self, count: int, draws: Draws) -> list[int]:
        return [0]

    def destination(self, row: NDArray[np.int64], size: int) -> Bytes | None:
        return None

    def decode(self, data: Bytes, draws: Draws, row: NDArray[np.int64], place: int) -> None:
        begin, _, dtype = array_header(data)
        row[:] = data[begin:].view(dtype)[:6] > 0

    def tensor(self, rows: Tensor) -> Tensor:
        return rows


class Codes(Preparation):
    """Passes codes on; a hidden sample is all padding."""

    hidden = PAD

    def forward(self, codes: Tensor) -> Tensor:
        return codes


class CodesEncoder(Encoder):
    """Mean of the embeddings of the codes that are not padding."""

    width = 4

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(PAD + 1, self.width)

    def forward(self, codes: Tensor) -> Tensor:
        mask = (codes != PAD)[..., None]
        return (self.embed(codes) * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)


@pytest.fixture
def codes(monkeypatch: pytest.MonkeyPatch) -> str:
    """Adds the line of a made-up modality of another rank and type than pictures."""
    line = Modality(
        part="spectrogram",
        kind="codes",
        decoder=f"{__name__}:CodesDecoder",
        preparation=f"{__name__}:Codes",
        members=r"spectrogram\.npy",
    )
    monkeypatch.setitem(MODALITIES, "codes", line)
    return "codes"


def model_of(names: tuple[str, ...]) -> MultimodalModel:
    encoders = {name: CodesEncoder() for name in names}
    return MultimodalModel(encoders, Concat(dict.fromkeys(names, 4), classes=3))


def test_a_line_of_the_table_streams_and_trains_a_new_modality(tmp_path: Path, codes: str) -> None:
    data = open_dataset(make_data(tmp_path))
    ids = data.ids("train")
    stream = OrderedStream(data, (codes,), 6, VIEW)
    model = model_of((codes,))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    shown = np.arange(len(ids)) % 2 == 0

    stream.begin(SampleOrder(ids, {codes: shown}), seed=0, epoch=0)
    for batch in stream:
        rows = batch.inputs[codes]
        assert rows.shape == (6, 6)
        assert rows.dtype == torch.int64
        assert (rows[~batch.shown[codes]] == PAD).all()
        assert rows[batch.shown[codes]].max() <= 1
        optimizer.zero_grad()
        F.cross_entropy(model(batch).fused, batch.target).backward()
        optimizer.step()

    assert codes in data.modalities
    moved = [name for name, p in model.named_parameters() if not torch.equal(p, before[name])]
    assert len(moved) == len(before)


def test_a_new_modality_streams_beside_others_and_from_shards_of_other_tools(
    tmp_path: Path, codes: str
) -> None:
    data = open_dataset(make_data(tmp_path))
    ordered = OrderedStream(data, (codes, "visual"), 6, VIEW)
    ordered.begin(SampleOrder(data.ids("train")), seed=0, epoch=0)
    layout = Layout(classes=CLASSES)
    foreign = ForeignStream(LocalStore(tmp_path), (codes, "visual"), 6, VIEW, layout)

    one, other = next(iter(ordered)), next(iter(foreign))

    assert torch.equal(one.inputs[codes], other.inputs[codes])
    assert torch.equal(one.inputs["visual"], other.inputs["visual"])


def test_what_a_hidden_sample_holds_does_not_reach_the_encoder(codes: str) -> None:
    model, shown = model_of((codes,)), {codes: torch.tensor([True, False])}
    rows = torch.tensor([[0, 1, 0, 1, 1, 1], [1, 1, 0, 0, 0, 0]])

    features = model.encode(Batch.unlabelled({codes: rows}, shown))[codes]

    assert features[0].any()
    assert not features[1].any()


def test_two_modalities_of_one_part_are_refused(tmp_path: Path, codes: str) -> None:
    data = open_dataset(make_data(tmp_path))
    with pytest.raises(ConfigError, match="audio and codes are both read from the part"):
        OrderedStream(data, ("audio", codes), 6, VIEW)
    with pytest.raises(ConfigError, match="audio and codes are both read from the part"):
        ForeignStream(data.store, ("audio", codes), 6, VIEW)


def test_an_unknown_modality_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean visual"):
        modality("visul")


@pytest.mark.parametrize("name", MODALITIES)
def test_every_line_names_a_part_a_decoder_a_preparation_and_a_drawing(name: str) -> None:
    line = MODALITIES[name]

    assert line.part in PARTS
    assert callable(load(line.decoder))
    assert isinstance(preparation(name), Preparation)
    assert line.kind in _DRAW


def test_the_table_costs_no_import_of_torch() -> None:
    code = "import sys, mmtrain.modalities; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
