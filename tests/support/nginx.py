"""A static file server that takes next to no processor time: nginx, in one process.

A request can be made to wait without a proxy: every one is refused as unauthorised, nginx delays
such refusals by a timer (``auth_delay``), and the page of the refusal is the file itself.
"""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.ports import free_port

_START_S = 60.0
_CONFIG = """
worker_processes 1;
daemon off;
master_process off;
pid {state}/nginx.pid;
error_log {state}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000000;
    open_file_cache max=1000;
    types {{ }}
    client_body_temp_path {state}/body;
    proxy_temp_path {state}/proxy;
    fastcgi_temp_path {state}/fastcgi;
    uwsgi_temp_path {state}/uwsgi;
    scgi_temp_path {state}/scgi;
    server {{
        listen 127.0.0.1:{port};
        root {folder};
        location / {{ {wait} }}
        location @file {{ }}
    }}
}}
"""
_WAIT = """
            auth_basic "late";
            auth_basic_user_file {state}/nobody;
            auth_delay {ms}ms;
            error_page 401 = @file;"""


def binary() -> str | None:
    """Path of nginx, if it is installed."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


@contextmanager
def serving(nginx: str, folder: Path, state: Path, latency_s: float = 0.0) -> Iterator[str]:
    """Serves ``folder`` on loopback and gives its address.

    Args:
        nginx: Path of nginx.
        folder: Folder of the files.
        state: Empty folder for what nginx writes.
        latency_s: Seconds that every request waits, a whole number of milliseconds.
    """
    port, ms = free_port(), round(latency_s * 1e3)
    wait = _WAIT.format(state=state, ms=ms) if ms else ""
    (state / "nobody").touch()
    config = state / "nginx.conf"
    config.write_text(_CONFIG.format(state=state, port=port, folder=folder, wait=wait))
    process = subprocess.Popen([nginx, "-p", state, "-e", state / "error.log", "-c", config])
    try:
        _wait(process, port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _wait(process: "subprocess.Popen[bytes]", port: int) -> None:
    end = time.monotonic() + _START_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError as error:
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"nginx does not start: {error}") from error
            time.sleep(0.02)
        else:
            return
