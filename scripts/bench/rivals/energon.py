"""Megatron-Energon: our own shards with its index beside them, read by its crude data set."""

import json
from collections.abc import Iterator
from typing import Any, ClassVar

from megatron.energon import (
    Cooker,
    DefaultTaskEncoder,
    WorkerConfig,
    get_loader,
    get_train_dataset,
    stateless,
)
from megatron.energon.flavors.webdataset import BaseWebdatasetFactory
from torch.utils.data import default_collate

from rivals.base import Batch, Rival, decode_clip, decode_sound, frames_of, to_batch

_SOUND = "spectrogram.npy"


class Energon(Rival):
    """`get_train_dataset` as its quickstart has it: sequences and a buffer of 100 samples."""

    packages = ("megatron-energon",)
    refused: ClassVar = {
        "scored": "no: takes no list of samples; data sets are blended by weight, not samples",
    }
    remarks: ClassVar = {
        "default": "sequences of 100 samples and a buffer of 100",
        "random": "sequences of 1 sample, each worker its own part",
        "audio": "part_filter",
    }

    def prepare(self) -> None:
        """Indexes links to the shards, and opens a loader for each order."""
        folder = self.setting.root / "energon"
        folder.mkdir()
        names = []
        for path in sorted(self.setting.shards.rglob("*.tar")):
            (folder / path.name).symlink_to(path)
            names.append(path.name)
        BaseWebdatasetFactory.prepare_dataset(
            folder, names, split_parts_patterns=[("train", ".*")], workers=1
        )
        kind = {"__module__": "megatron.energon", "__class__": "CrudeWebdataset"}
        for order, filters in (("default", {}), ("audio", {"part_filter": [_SOUND]})):
            text = json.dumps(kind | filters)
            (folder / ".nv-meta" / f"{order}.yaml").write_text(text)
        orders = ("default", "random", "audio")
        self._loaders = {order: self._loader(str(folder), order) for order in orders}

    def epoch(self, order: str, epoch: int) -> Iterator[Batch]:
        """Yields the batches of the order's loader."""
        for collated in self._loaders[order]:
            yield to_batch(collated)

    def _loader(self, folder: str, order: str) -> Any:
        spread = 1 if order == "random" else 100
        dataset = get_train_dataset(
            folder,
            dataset_config="audio.yaml" if order == "audio" else "default.yaml",
            worker_config=WorkerConfig(rank=0, world_size=1, num_workers=self.setting.workers),
            batch_size=self.setting.batch_size,
            shuffle_buffer_size=None if order == "random" else spread,
            max_samples_per_sequence=spread,
            # Without end otherwise, with batches of the next epoch made between measurements.
            virtual_epoch_length=-(-self.setting.samples // self.setting.batch_size),
            task_encoder=_Encoder(),
        )
        return get_loader(dataset)


@stateless
def _cook(sample: dict[str, Any]) -> dict[str, Any]:
    number = int(sample["__key__"].rpartition("/")[2][1:])
    parts = [number, decode_sound(sample[_SOUND])]
    if frames := frames_of(sample):
        parts.append(decode_clip(number, frames))
    kept = ("__key__", "__restore_key__", "__subflavors__", "__sources__")
    return {name: sample.get(name) for name in kept} | {"parts": parts}


class _Encoder(DefaultTaskEncoder):  # type: ignore[misc]  # the library has no types
    """Decodes as we do, and stacks as torch does."""

    decoder = None
    cookers = [Cooker(_cook)]  # noqa: RUF012  # the library's own way

    @stateless
    def encode_sample(self, sample: Any) -> Any:
        return sample

    @stateless
    def batch(self, samples: list[Any]) -> Any:
        return default_collate([sample["parts"] for sample in samples])

    @stateless
    def encode_batch(self, batch: Any) -> Any:
        return batch
