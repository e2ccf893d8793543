"""Credentials of profiles in ~/.aws, read by boto3, against a server that checks them."""

import sys
from pathlib import Path

import pytest

from mmprep.errors import ConfigError, StoreError
from mmprep.storage.credentials import aws_profile
from mmprep.storage.store import open_store
from tests.support.objectstore import CREDENTIALS

KEY, SECRET = CREDENTIALS.values()


@pytest.fixture
def aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without credentials, and an environment without any."""
    for name in (
        *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"),
        *("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"),
        *("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE"),
        *("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    # botocore asks a cloud's machine for credentials when there are none else.
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    (tmp_path / ".aws").mkdir()
    return tmp_path / ".aws"


def write_profile(folder: Path, name: str, secret: str = SECRET) -> None:
    with (folder / "credentials").open("a") as file:
        file.write(f"[{name}]\naws_access_key_id={KEY}\naws_secret_access_key={secret}\n")


def place_in(bucket: str, object_store: str) -> str:
    open_store(bucket, endpoint=object_store).write("a", b"abc")
    return bucket


@pytest.mark.network
@pytest.mark.parametrize("name", ["default", "lab"])
def test_a_profile_opens_a_bucket(
    name: str, bucket: str, object_store: str, request: pytest.FixtureRequest
) -> None:
    pytest.importorskip("boto3")
    place_in(bucket, object_store)
    aws: Path = request.getfixturevalue("aws")
    write_profile(aws, "default", SECRET if name == "default" else "wrong")
    if name == "lab":
        write_profile(aws, "lab")
        request.getfixturevalue("monkeypatch").setenv("AWS_PROFILE", "lab")
    store = open_store(bucket, endpoint=object_store)
    assert store.read("a") == b"abc"
    store.write("b", b"x")
    assert dict(store.files()) == {"a": 3, "b": 1}


@pytest.mark.network
def test_region_and_endpoint_of_a_profile_are_taken(
    bucket: str, object_store: str, request: pytest.FixtureRequest
) -> None:
    pytest.importorskip("boto3")
    place_in(bucket, object_store)
    aws: Path = request.getfixturevalue("aws")
    write_profile(aws, "default")
    (aws / "config").write_text(f"[default]\nregion=eu-west-7\nendpoint_url={object_store}\n")
    profile = aws_profile()
    assert profile is not None
    assert (profile.region, profile.endpoint) == ("eu-west-7", object_store)
    assert open_store(bucket).read("a") == b"abc"


@pytest.mark.network
def test_keys_in_the_environment_come_first(
    bucket: str, object_store: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    place_in(bucket, object_store)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    write_profile(tmp_path, "default", "wrong")
    assert aws_profile() is None
    assert open_store(bucket).read("a") == b"abc"


def test_a_profile_that_is_not_there_is_named(aws: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("boto3")
    write_profile(aws, "default")
    monkeypatch.setenv("AWS_PROFILE", "labb")
    with pytest.raises(ConfigError, match=r"labb.*; check AWS_PROFILE and the files there"):
        open_store("s3://b/p")


def test_a_session_that_has_ended_is_named_at_once(
    aws: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("boto3")
    (aws / "config").write_text(
        "[profile sso]\nsso_session=s\nsso_account_id=1\nsso_role_name=r\n"
        "[sso-session s]\nsso_start_url=https://example.org\nsso_region=us-east-1\n"
    )
    monkeypatch.setenv("AWS_PROFILE", "sso")
    with pytest.raises(StoreError, match="run `aws sso login`") as caught:
        open_store("s3://b/p", endpoint="http://127.0.0.1:9").read("a")
    assert "Gave up" not in str(caught.value)


def test_without_boto3_a_profile_names_the_extra(
    aws: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    assert aws_profile() is None
    (aws / "config").write_text("[default]\nregion=eu-west-1\n")
    assert aws_profile() is None
    write_profile(aws, "default")
    for profile in ("", "lab"):
        monkeypatch.setenv("AWS_PROFILE", profile)
        with pytest.raises(ConfigError, match=r"pip install 'mmprep\[aws\]'"):
            open_store("s3://b/p")
    open_store("s3://b/p", anonymous=True)
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    open_store("s3://b/p")


def test_a_file_without_credentials_leaves_the_rest_to_the_machine(aws: Path) -> None:
    pytest.importorskip("boto3")
    (aws / "config").write_text("[default]\nregion=eu-west-1\n")
    assert aws_profile() is None
