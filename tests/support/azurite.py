"""Azure's emulator Azurite on this machine, where the npm package is installed."""

import base64
import hashlib
import hmac
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path

from tests.support.ports import free_port

ACCOUNT = "tests"
KEY = base64.b64encode(b"not a secret").decode()
CONTAINER = "shards"
CREDENTIALS = {"AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT, "AZURE_STORAGE_ACCOUNT_KEY": KEY}
_START_S = 120.0


def binary() -> str | None:
    """Azurite's server of blobs: ``AZURITE`` of the environment, or `azurite-blob` on the path."""
    return os.environ.get("AZURITE") or shutil.which("azurite-blob")


@contextmanager
def served(azurite: str, folder: Path) -> Iterator[str]:
    """Runs the server with its data in ``folder``; gives its address, with `CONTAINER` made."""
    port = free_port()
    address = f"http://127.0.0.1:{port}/{ACCOUNT}"
    log = folder / "azurite.log"
    flags = ("--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", str(folder))
    with log.open("wb") as file:
        process = subprocess.Popen(
            [azurite, *flags, "--skipApiVersionCheck", "--disableTelemetry"],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env={**os.environ, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"},
        )
        try:
            _make_container(process, address, log)
            yield address
        finally:
            process.kill()
            process.wait()


def _make_container(process: "subprocess.Popen[bytes]", address: str, log: Path) -> None:
    """Makes the container as soon as the server lets it."""
    end = time.monotonic() + _START_S
    while True:
        try:
            with urllib.request.urlopen(_signed_request(address), timeout=60):
                return
        except (urllib.error.URLError, OSError) as error:
            if process.poll() is not None or time.monotonic() > end:
                tail = log.read_text(errors="replace")[-2000:]
                raise RuntimeError(f"Azurite does not start: {error}\n{tail}") from error
            time.sleep(0.1)


def _signed_request(address: str) -> urllib.request.Request:
    headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
    lines = [f"{name}:{value}" for name, value in headers.items()]
    # Eleven headers that are not sent, then those of Azure, then what is asked for.
    resource = f"/{ACCOUNT}/{ACCOUNT}/{CONTAINER}\nrestype:container"
    text = "PUT" + "\n" * 12 + "\n".join([*lines, resource])
    digest = hmac.digest(base64.b64decode(KEY), text.encode(), hashlib.sha256)
    signature = base64.b64encode(digest).decode()
    return urllib.request.Request(
        f"{address}/{CONTAINER}?restype=container",
        method="PUT",
        headers={**headers, "Authorization": f"SharedKey {ACCOUNT}:{signature}"},
    )
