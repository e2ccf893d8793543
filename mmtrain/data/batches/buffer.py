"""The memory of one batch, which threads fill row by row."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mmtrain.data.batches.decode import Decoder, SpectrogramDecoder
from mmtrain.data.batches.memory import BatchMemory
from mmtrain.data.batches.view import Draws
from mmtrain.data.reading.local import Bytes
from mmtrain.types import Batch


class BatchBuffer:
    """Memory of one batch of b rows. Each row has one writer at a time, so nothing is locked.

    Args:
        decoders: Modality to the decoder of its rows.
        draws: Random numbers of each of b rows.
        filler: (b,) True for rows that must weigh nothing.
        shown: Modality to (b,) True for rows that show it; a modality that is absent is shown in
            every row.
        memory: Memory of the tensors; fresh one by default.
    """

    def __init__(
        self,
        decoders: Mapping[str, Decoder],
        draws: Sequence[Draws],
        filler: NDArray[np.bool_],
        shown: Mapping[str, NDArray[np.bool_]],
        *,
        memory: BatchMemory | None = None,
    ) -> None:
        self.draws, self.filler, self.shown = draws, filler, shown
        self._decoders = decoders
        # Not zeroed: every row that is shown is written in full.
        memory = memory or BatchMemory()
        self._tensors = {
            modality: memory.empty((len(draws), *d.shape), d.dtype)
            for modality, d in decoders.items()
        }
        self._parts: dict[str, tuple[Decoder, NDArray[Any]]] = {
            d.part: (d, self._tensors[modality].numpy()) for modality, d in decoders.items()
        }
        for modality, mask in shown.items():
            self._tensors[modality].numpy()[~mask] = decoders[modality].blank

    def members(self, row: int, counts: Mapping[str, int]) -> dict[str, list[int]]:
        """Chooses the members that ``row`` shows of each part.

        Args:
            row: Row of the batch.
            counts: Part to the number of members that the sample has.
        """
        return {
            d.part: d.members(counts[d.part], self.draws[row])
            for modality, d in self._decoders.items()
            if modality not in self.shown or self.shown[modality][row]
        }

    def destination(self, row: int, part: str, size: int) -> Bytes | None:
        """Returns the memory for the last bytes of a member, see `Decoder.destination`."""
        decoder, rows = self._parts[part]
        return decoder.destination(rows[row], size)

    def decode(self, row: int, part: str, place: int, data: Bytes, size: int | None = None) -> None:
        """Writes one member into its row, see `Decoder.decode`.

        Args:
            row: Row of the batch.
            part: Part of the member.
            place: Position of the member among those that the visit reads.
            data: Bytes of the member; without its last ones, where `destination` has them already.
            size: Number of bytes of the whole member; None where ``data`` is all of it.

        Raises:
            DataError: The member is damaged.
        """
        decoder, rows = self._parts[part]
        if size in (None, len(data)) and isinstance(decoder, SpectrogramDecoder):
            decoder.require_values(data)
        decoder.decode(data, self.draws[row], rows[row], place)

    def clear_row(self, row: int) -> None:
        """Turns ``row`` into a filler that shows nothing."""
        self.filler[row] = True
        for decoder, rows in self._parts.values():
            rows[row] = decoder.blank

    def to_batch(self, ids: NDArray[np.int64], targets: NDArray[Any]) -> Batch:
        """Returns the finished batch, which shares the memory.

        Args:
            ids: (b,) id of each row's sample.
            targets: (b, ...) target of each row's sample.
        """
        return Batch(
            ids=torch.from_numpy(ids),
            target=torch.from_numpy(targets),
            inputs={m: d.tensor(self._tensors[m]) for m, d in self._decoders.items()},
            filler=torch.from_numpy(self.filler),
            shown={m: torch.from_numpy(mask) for m, mask in self.shown.items()},
        )
