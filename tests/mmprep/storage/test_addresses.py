"""Addresses as people write them, without what must not be shown, and remedies for refusals."""

from pathlib import Path

import pytest

from mmprep.errors import ConfigError, StoreError
from mmprep.storage.client import with_scheme
from mmprep.storage.redact import redacted
from mmprep.storage.refusals import bucket_refusal
from mmprep.storage.store import open_store
from mmtrain.config.run import TrainConfig
from tests.support import webserver


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://ann:secret@host/a", "https://host/a"),
        ("s3://key@bucket/a@b", "s3://bucket/a@b"),
        ("http://ann:a@b@host:9000/x?y=z", "http://host:9000/x?y=z"),
        ("a@b.c and https://host/x@y", "a@b.c and https://host/x@y"),
        ("folder/a@b", "folder/a@b"),
    ],
)
def test_passwords_are_left_out(text: str, shown: str) -> None:
    assert redacted(text) == shown


@pytest.mark.parametrize(
    ("endpoint", "address"),
    [
        ("127.0.0.1:9000", "http://127.0.0.1:9000"),
        ("localhost:9000", "http://localhost:9000"),
        ("minio.example.org", "https://minio.example.org"),
        ("http://x", "http://x"),
        (None, None),
    ],
)
def test_an_endpoint_without_a_scheme_gets_one(endpoint: str | None, address: str | None) -> None:
    assert with_scheme(endpoint) == address


def test_config_json_holds_no_password() -> None:
    config = TrainConfig(data="https://ann:secret@h/d", endpoint="http://ann:secret@h:1")
    assert "secret" not in config.to_json()
    assert TrainConfig.from_json(config.to_json(), "here").data == "https://h/d"


def test_messages_of_a_store_hold_no_password(tmp_path: Path) -> None:
    with webserver.serving(tmp_path) as address:
        store = open_store(address.replace("://", "://ann:secret@"))
        assert "secret" not in store.url
        with pytest.raises(StoreError) as caught:
            store.read("nothing.tar")
    assert "secret" not in str(caught.value)
    with pytest.raises(ConfigError) as refused:
        open_store("ftp://ann:secret@host/x")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("Server returned 400: <Code>ExpiredToken</Code>", "the credentials have expired"),
        ("status 301: <Code>PermanentRedirect</Code>", "set AWS_REGION"),
        ("<Code>AuthorizationHeaderMalformed</Code>", "set AWS_REGION"),
        ("<Code>SignatureDoesNotMatch</Code>", "AWS_SECRET_ACCESS_KEY does not belong"),
        ("error sending request: invalid peer certificate: UnknownIssuer", "set SSL_CERT_FILE"),
    ],
)
def test_a_refusal_says_what_to_set(text: str, remedy: str) -> None:
    assert remedy in bucket_refusal(ValueError(text))


@pytest.mark.parametrize("name", ["AWS_ENDPOINT", "AWS_ENDPOINT_URL"])
def test_the_endpoint_of_the_environment_is_taken_over_http(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "public/d").mkdir(parents=True)
    (tmp_path / "public/d/a").write_bytes(b"abc")
    for other in ("AWS_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ALLOW_HTTP"):
        monkeypatch.delenv(other, raising=False)
    with webserver.serving(tmp_path) as address:
        monkeypatch.setenv(name, address)
        monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
        assert open_store("s3://public/d", anonymous=True).read("a") == b"abc"


def test_the_azure_endpoint_of_the_environment_is_taken_over_http(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "public/d").mkdir(parents=True)
    (tmp_path / "public/d/a").write_bytes(b"abc")
    with webserver.serving(tmp_path) as address:
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "anybody")
        monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", address)
        monkeypatch.setenv("AZURE_ALLOW_HTTP", "true")
        assert open_store("az://public/d", anonymous=True).read("a") == b"abc"


def test_an_endpoint_without_a_scheme_is_reached(tmp_path: Path) -> None:
    (tmp_path / "public/d").mkdir(parents=True)
    (tmp_path / "public/d/a").write_bytes(b"abc")
    with webserver.serving(tmp_path) as address:
        endpoint = address.removeprefix("http://")
        assert open_store("s3://public/d", endpoint=endpoint, anonymous=True).read("a") == b"abc"
