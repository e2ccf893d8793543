"""The stream in the loaders and loops of torchdata, Lightning and accelerate, each the real one."""

from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from mmtrain.data import ShardedDataset
from mmtrain.errors import ConfigError
from tests.mmtrain.data.test_loops import FORKS, assert_same, begin, require_refusal, stream_of
from tests.support.forked import SERVER

EPOCHS = 3


class TestStatefulDataLoader:
    """torchdata's loader, which saves and restores what is in it."""

    @pytest.fixture(autouse=True)
    def _needs(self) -> None:
        module = pytest.importorskip("torchdata.stateful_dataloader")
        self.loader = partial(self._made, module.StatefulDataLoader)

    @staticmethod
    def _made(loader: Any, stream: Any, *, batch_size: None, num_workers: int) -> Any:
        # Not forked: this process has threads of other tests, whose locks a child would inherit.
        start = {"multiprocessing_context": SERVER} if num_workers else {}
        return loader(stream, batch_size=batch_size, num_workers=num_workers, **start)

    @FORKS
    @pytest.mark.parametrize(
        ("workers", "done"), [(0, 2), (1, 2), (2, 0), (2, 1), (2, 2), (2, 3), (2, 4), (3, 2)]
    )
    def test_a_resumed_epoch_loses_and_repeats_nothing(
        self, workers: int, done: int, farm: ShardedDataset
    ) -> None:
        straight = list(stream_of(farm))
        loader = self.loader(stream_of(farm), batch_size=None, num_workers=workers)
        first = list(islice(loader, done))
        state = loader.state_dict()
        resumed = self.loader(stream_of(farm), batch_size=None, num_workers=workers)
        resumed.load_state_dict(state)
        assert_same(first + list(resumed), straight)

    @FORKS
    def test_the_epoch_after_a_resumed_one_is_whole(self, farm: ShardedDataset) -> None:
        loader = self.loader(stream_of(farm), batch_size=None, num_workers=2)
        list(islice(loader, 3))
        state = loader.state_dict()
        stream = stream_of(farm)
        resumed = self.loader(stream, batch_size=None, num_workers=2)
        resumed.load_state_dict(state)
        assert len(list(resumed)) == 1
        begin(stream, 1)
        assert_same(list(resumed), list(stream_of(farm, 1)))

    @FORKS
    def test_a_second_epoch_without_begin_is_refused(self, farm: ShardedDataset) -> None:
        loader = self.loader(stream_of(farm), batch_size=None, num_workers=2)
        list(loader)
        # Its new workers have a copy of the stream as it was begun, and would repeat the epoch.
        require_refusal(loader)


class TestLightning:
    """Lightning's trainer, of which the stream gets an epoch at a time."""

    @pytest.fixture(autouse=True)
    def _needs(self) -> None:
        self.lightning = pytest.importorskip("lightning")

    def fit(self, folder: Path, farm: ShardedDataset, reload: int) -> list[list[int]]:
        """Ids that each step of three epochs was given."""
        seen: list[list[int]] = []
        stream = stream_of(farm)

        class Model(self.lightning.LightningModule):  # type: ignore[misc, name-defined]
            def __init__(self) -> None:
                super().__init__()
                self.weight = torch.nn.Parameter(torch.zeros(()))

            def train_dataloader(self) -> DataLoader[Any]:
                begin(stream, self.trainer.current_epoch)
                return DataLoader(stream, batch_size=None)

            def training_step(self, batch: Any, number: int) -> Any:
                seen.append(batch.ids.tolist())
                return self.weight * batch.inputs["visual"].float().mean()

            def configure_optimizers(self) -> Any:
                return torch.optim.SGD(self.parameters(), lr=0.1)

        trainer = self.lightning.Trainer(
            max_epochs=EPOCHS,
            accelerator="cpu",
            default_root_dir=folder,
            reload_dataloaders_every_n_epochs=reload,
            **dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar"), False),
            enable_model_summary=False,
        )
        trainer.fit(Model())
        return seen

    @pytest.mark.filterwarnings("ignore::UserWarning", "ignore:.*:FutureWarning")
    def test_each_epoch_has_all_its_steps(self, tmp_path: Path, farm: ShardedDataset) -> None:
        expected = [b.ids.tolist() for epoch in range(EPOCHS) for b in stream_of(farm, epoch)]
        assert self.fit(tmp_path, farm, reload=1) == expected

    @pytest.mark.filterwarnings("ignore::UserWarning", "ignore:.*:FutureWarning")
    def test_an_epoch_that_was_not_begun_is_no_success(
        self, tmp_path: Path, farm: ShardedDataset
    ) -> None:
        with pytest.raises(ConfigError, match="call begin"):
            self.fit(tmp_path, farm, reload=0)


class TestAccelerate:
    """accelerate's `prepare`, which would deal batches to ranks as well."""

    @pytest.fixture(autouse=True)
    def _needs(self) -> None:
        self.accelerate = pytest.importorskip("accelerate")

    def test_a_prepared_loader_that_fetches_its_own_batches_gives_them(
        self, farm: ShardedDataset
    ) -> None:
        configured = self.accelerate.utils.DataLoaderConfiguration(dispatch_batches=False)
        accelerator = self.accelerate.Accelerator(cpu=True, dataloader_config=configured)
        stream = stream_of(farm)
        loader = accelerator.prepare(DataLoader(stream, batch_size=None))
        assert_same(list(loader), list(stream_of(farm)))
        with pytest.raises(ConfigError, match="call begin"):
            list(loader)

    def test_a_prepared_loader_that_slices_batches_is_refused_by_name(
        self, farm: ShardedDataset
    ) -> None:
        accelerator = self.accelerate.Accelerator(cpu=True)
        loader = accelerator.prepare(DataLoader(stream_of(farm), batch_size=None))
        with pytest.raises(ConfigError, match=r"Share\(rank=accelerator\.process_index"):
            list(loader)

    def test_a_model_that_is_prepared_trains_on_the_stream(self, farm: ShardedDataset) -> None:
        accelerator = self.accelerate.Accelerator(cpu=True)
        model = torch.nn.Linear(1, 1)
        model, optimizer = accelerator.prepare(model, torch.optim.SGD(model.parameters(), lr=0.1))
        steps = 0
        for batch in DataLoader(stream_of(farm), batch_size=None):
            accelerator.backward(model(batch.target[:, None].float()).mean())
            optimizer.step()
            steps += 1
        assert steps == 4
