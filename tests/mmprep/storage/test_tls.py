"""Servers with certificates that no authority has signed.

`tests/fixtures/tls` has one key and four certificates of it, made by ``openssl req -x509 -key
server.key -days 36500 -subj "/CN=a store" -addext subjectAltName=IP:127.0.0.1 -addext
basicConstraints=critical,CA:FALSE``: `own`; `authority` with ``CA:TRUE``; `elsewhere` for another
name; `expired`, which was valid in January 2020. The others are valid until 2126.
"""

import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from click.testing import CliRunner

from mmprep.cli.main import main as mmprep
from mmprep.errors import StoreError
from mmprep.storage.store import Store, open_store
from mmtrain.cli.main import main as mmtrain
from tests.support import webserver

pytestmark = pytest.mark.network
TLS = Path(__file__).parents[2] / "fixtures/tls"
ADVICE = "certificate is not trusted here: set SSL_CERT_FILE to that of its authority"


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    """Function that serves a file under a certificate, and returns the address."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d/a").write_bytes(b"abc")
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with ExitStack() as stack:

        def start(name: str) -> str:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(TLS / f"{name}.pem", TLS / "server.key")
            return stack.enter_context(webserver.serving(tmp_path, tls=context))

        yield start


def stores(address: str) -> list[Store]:
    return [
        open_store(f"{address}/d"),
        open_store("s3://d", endpoint=address, anonymous=True),
    ]


def test_a_certificate_that_signs_itself_is_refused_until_it_is_named(
    serve: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    address = serve("own")
    for store in stores(address):
        with pytest.raises(StoreError, match=ADVICE):
            store.read("a", 0, 3)
    monkeypatch.setenv("SSL_CERT_FILE", str(TLS / "own.pem"))
    assert [store.read("a", 0, 3) for store in stores(address)] == [b"abc", b"abc"]


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("authority", "give it one with -addext basicConstraints=critical,CA:FALSE"),
        ("elsewhere", "is for another name"),
        ("expired", "has expired, or this machine's clock"),
    ],
)
def test_a_certificate_that_will_not_do_even_if_it_is_named_is_refused_at_once(
    name: str, advice: str, serve: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    address = serve(name)
    monkeypatch.setenv("SSL_CERT_FILE", str(TLS / f"{name}.pem"))
    for store in stores(address):
        with pytest.raises(StoreError, match=advice) as caught:
            store.read("a", 0, 3)
        assert "tries" not in str(caught.value)


def test_both_tools_pass_on_the_advice(serve: Callable[[str], str], tmp_path: Path) -> None:
    address = f"{serve('own')}/d"
    for command, words in (
        (mmprep, ["info", address]),
        (mmtrain, ["train", "--data", address, "--out", str(tmp_path / "run")]),
    ):
        done = CliRunner().invoke(command, words)
        assert done.exit_code != 0
        assert ADVICE in done.output
        assert "Traceback" not in done.output
