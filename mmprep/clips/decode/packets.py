"""Packets of a picture stream: which of them must be decoded for the frames that are chosen."""

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from av.packet import Packet

AnyPacket: TypeAlias = "Packet[Any]"


def runs_to_decode(packets: Sequence[AnyPacket], chosen: set[int]) -> Iterator[list[AnyPacket]]:
    """Yields runs of whole groups of pictures that must be decoded for the chosen frames.

    The first pictures of a group may refer to the group before it, so that one is decoded too.
    """
    groups: list[list[AnyPacket]] = []
    for packet in packets:
        if packet.is_keyframe or not groups:
            groups.append([])
        groups[-1].append(packet)
    holds = [any(packet.pts in chosen for packet in group) for group in groups]
    run: list[AnyPacket] = []
    for group, here, after in zip(groups, holds, [*holds[1:], False], strict=True):
        if here or after:
            run += group
        elif run:
            yield run
            run = []
    if run:
        yield run
