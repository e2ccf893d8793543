"""A proxy that adds a delay to every request, and nothing else: bytes pass through the kernel.

    scripts/simulate/latency.py 127.0.0.1:8333 --seconds 0.02

Prints its own address. Answers stream on as they come, however long they are, so that a reader of
whole shards waits once for each and not for its last byte. A client must not send the next request
before the answer to the last, as none does in HTTP/1.1.
"""

import argparse
import os
import socket
import sys
import threading
import time

_CHUNK = 1 << 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("upstream", metavar="HOST:PORT")
    parser.add_argument("--seconds", type=float, default=0.02)
    asked = parser.parse_args()
    host, _, port = asked.upstream.partition(":")
    with socket.create_server(("127.0.0.1", 0), backlog=256) as server:
        sys.stdout.write(f"http://127.0.0.1:{server.getsockname()[1]}\n")
        sys.stdout.flush()
        while True:
            client, _ = server.accept()
            upstream = socket.create_connection((host, int(port)))
            for end in (client, upstream):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for target, args in (
                (requests, (client, upstream, asked.seconds)),
                (answers, (upstream, client)),
            ):
                threading.Thread(target=target, args=args, daemon=True).start()


def requests(client: socket.socket, upstream: socket.socket, seconds: float) -> None:
    """Passes on what the client sends, late."""
    try:
        while data := client.recv(_CHUNK):
            time.sleep(seconds)
            upstream.sendall(data)
        upstream.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


def answers(upstream: socket.socket, client: socket.socket) -> None:
    """Passes on what the store sends, without looking at it."""
    out, into = os.pipe()
    try:
        while count := os.splice(upstream.fileno(), into, _CHUNK):
            while count:
                count -= os.splice(out, client.fileno(), count)
    except OSError:
        pass
    finally:
        os.close(out)
        os.close(into)
        for end in (upstream, client):
            _hang_up(end)


def _hang_up(end: socket.socket) -> None:
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


if __name__ == "__main__":
    main()
