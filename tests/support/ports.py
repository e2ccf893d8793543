"""Ports for servers of the tests."""

import random
import socket
from contextlib import ExitStack

# Below the ports that systems lend to clients (from 32768 on Linux): between the choice of a port
# here and the start of its server, a connection of another test could be lent the same.
_LENT_TO_NOBODY = range(15_000, 32_000)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Different ports of 127.0.0.1 that nobody listens on."""
    ports: list[int] = []
    with ExitStack() as stack:
        # Tests run side by side, so each draws its own; the seed of a test must not matter.
        for port in random.SystemRandom().sample(_LENT_TO_NOBODY, 1000):
            listener = stack.enter_context(socket.socket())
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            ports.append(port)
            if len(ports) == count:
                return ports
    raise RuntimeError(f"fewer than {count} of a thousand ports are free")
