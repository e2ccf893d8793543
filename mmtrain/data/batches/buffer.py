"""One batch in the making: memory that threads decode into, a row each."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mmtrain.data.batches.decode import Decoder
from mmtrain.data.batches.view import Draws
from mmtrain.data.reading.local import Bytes
from mmtrain.types import Batch


class Slab:
    """Memory of one batch.

    Args:
        decoders: Modality to what makes its rows.
        draws: Random numbers of each of b rows.
        filler: (b,) rows that weigh nothing.
        shown: Modality to (b,) rows that show it; absent means all.
        pin: Whether a GPU copies from it without waiting.
    """

    def __init__(
        self,
        decoders: Mapping[str, Decoder],
        draws: Sequence[Draws],
        filler: NDArray[np.bool_],
        shown: Mapping[str, NDArray[np.bool_]],
        *,
        pin: bool = False,
    ) -> None:
        self.draws, self.filler, self.shown = draws, filler, shown
        self._decoders = decoders
        self._rows = {
            modality: torch.empty((len(draws), *d.shape), dtype=d.dtype, pin_memory=pin)
            for modality, d in decoders.items()
        }
        self._parts: dict[str, tuple[Decoder, NDArray[Any]]] = {
            d.part: (d, self._rows[modality].numpy()) for modality, d in decoders.items()
        }
        for modality, mask in shown.items():
            self._rows[modality].numpy()[~mask] = 0

    def members(self, row: int, counts: Mapping[str, int]) -> dict[str, list[int]]:
        """Part to the members that ``row`` shows, where each part has so many of them."""
        return {
            d.part: d.members(counts[d.part], self.draws[row])
            for modality, d in self._decoders.items()
            if modality not in self.shown or self.shown[modality][row]
        }

    def room(self, row: int, part: str, size: int) -> Bytes | None:
        """Where the last bytes of a member of ``size`` bytes may be put for `decode`, if so."""
        decoder, rows = self._parts[part]
        return decoder.room(rows[row], size)

    def decode(self, row: int, part: str, place: int, data: Bytes) -> None:
        """Writes one member.

        Raises:
            DataError: The member is not what it should be.
        """
        decoder, rows = self._parts[part]
        decoder.decode(data, self.draws[row], rows[row], place)

    def give_up(self, row: int) -> None:
        """Makes ``row`` a filler of zeros."""
        self.filler[row] = True
        for _, rows in self._parts.values():
            rows[row] = 0

    def batch(self, ids: NDArray[np.int64], targets: NDArray[np.int64]) -> Batch:
        """The finished batch; shares the memory."""
        return Batch(
            ids=torch.from_numpy(ids),
            target=torch.from_numpy(targets),
            inputs={m: d.tensor(self._rows[m]) for m, d in self._decoders.items()},
            filler=torch.from_numpy(self.filler),
            shown={m: torch.from_numpy(mask) for m, mask in self.shown.items()},
        )
