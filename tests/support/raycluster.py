"""A real Ray cluster on this machine: two nodes of one core each, in a process of its own.

Run as ``python raycluster.py FOLDER`` it prints its address, loses its second node when it reads a
line, and ends with its standard input.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

_TRIES = 4


@dataclass(frozen=True, kw_only=True)
class RayCluster:
    """Where it is, how to make it lose a node, and what a driver needs in its environment."""

    address: str
    process: "subprocess.Popen[str]"
    environment: Mapping[str, str]

    def lose_a_node(self) -> None:
        """Kills the second node; comes back when it is dead."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("lose\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "lost\n"


@contextmanager
def cluster(**environment: str) -> Iterator[RayCluster]:
    """Runs a cluster; its workers have ``environment`` over that of the tests."""
    # Paths of its sockets may have 107 letters, so not in a folder of pytest.
    with TemporaryDirectory(prefix="mr-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        quiet = {
            "HOME": folder,
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_enable_worker_prestart": "0",
            # On a busy machine Ray's agents take longer than its raylet waits, which then aborts.
            "RAY_agent_register_timeout_ms": "120000",
        }
        env = os.environ | environment | quiet
        process, address = _started(folder, env)
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield RayCluster(address=address, process=process, environment=env)
        finally:
            process.stdin.close()
            process.wait(120)
            process.stdout.close()


def _started(folder: str, env: Mapping[str, str]) -> tuple["subprocess.Popen[str]", str]:
    for _ in range(_TRIES):
        process = subprocess.Popen(
            [sys.executable, __file__, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=env,
        )
        assert process.stdout is not None
        if address := process.stdout.readline().strip():
            return process, address
        process.communicate()
    pytest.skip("Ray does not start here: its daemons are too slow on a busy machine")


def main(folder: str) -> None:
    from ray.cluster_utils import Cluster

    # Ray notes its address there, and makes the folder for its default place of files only.
    Path("/tmp/ray").mkdir(exist_ok=True)
    # Not 127.0.0.1, which drivers would translate into the machine's address outside.
    shape = {"num_cpus": 1, "object_store_memory": 80 << 20, "node_ip_address": "127.0.0.2"}
    # What a test can do without, for it starts at the same time and on the same cores.
    less = {"include_dashboard": False, "include_log_monitor": False, "no_monitor": True}
    head = {**shape, **less, "temp_dir": str(Path(folder, "ray"))}
    made = Cluster(initialize_head=True, head_node_args=head)
    second = made.add_node(**{**shape, "node_ip_address": "127.0.0.3"})
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    answer.write(f"{made.address}\n")
    answer.flush()
    for _ in sys.stdin:
        made.remove_node(second, allow_graceful=False)
        answer.write("lost\n")
        answer.flush()
    made.shutdown()


if __name__ == "__main__":
    main(sys.argv[1])
