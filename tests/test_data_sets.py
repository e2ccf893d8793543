"""Data sets from raw trees in their official layouts: built, verified, and trained by their recipe.

Trees are small and made here, encoders are shrunk; all goes through the command lines.
"""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click import Command
from click.testing import CliRunner

from mmprep.cli.main import main as mmprep
from mmprep.shards import Shards
from mmprep.storage.store import LocalStore
from mmtrain.cli.main import main as mmtrain
from tests.support import rawtrees

SMALL_PICTURES = ("frames.short_side=32",)
SMALL_SOUND = ("spectrogram.rate_hz=4000", "spectrogram.window=64", "spectrogram.overlap=16")
SMALL_EYES = ("view.size=32", "view.frames=2", "encoder.width=64")
SMALL_READER = (
    *("encoder.text.width=64", "encoder.text.heads=2", "encoder.text.layers=1", "view.length=32"),
)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A data set, its raw tree, and what comes of it.

    Attributes:
        name: Name of the data set, and of its recipe.
        tree: Function that writes the raw tree and the lists.
        rows: Rows of the index in train, val and test.
        failures: Cause of failures to the number of clips.
        build: Changes of the parts' parameters, which shrink them.
        train: Changes of the run's parameters, which shrink the encoders.
        encoders: Encoders that take the place of the recipe's.
        variant: Variant of the data set.
        task: Task of the data set.
        measure: A measure of the task.
    """

    name: str
    tree: Callable[[Path, Path], None]
    rows: tuple[int, int, int]
    failures: dict[str, int]
    build: tuple[str, ...] = ()
    train: tuple[str, ...] = ()
    encoders: str = ""
    variant: str = ""
    task: str = "classification"
    measure: str = "accuracy"

    def __str__(self) -> str:
        return "-".join(filter(None, (self.name, self.variant)))


CASES = (
    Case(
        name="twitter2015",
        tree=rawtrees.twitter2015,
        rows=(5, 2, 2),
        failures={"missing": 1},
        build=SMALL_PICTURES,
        train=(*SMALL_EYES, *SMALL_READER),
        encoders="visual=small-cnn",
    ),
    Case(
        name="sarcasm",
        tree=rawtrees.sarcasm,
        rows=(6, 2, 2),
        failures={"missing": 1, "not-utf-8": 1},
        build=SMALL_PICTURES,
        train=(*SMALL_EYES, *SMALL_READER),
        encoders="visual=small-cnn",
    ),
    Case(
        name="mvsa-single",
        tree=rawtrees.mvsa_single,
        rows=(8, 2, 2),
        failures={"missing": 1, "empty-text": 1},
        build=SMALL_PICTURES,
        train=(*SMALL_EYES, *SMALL_READER),
        encoders="visual=small-cnn",
    ),
    Case(
        name="iemocap",
        tree=rawtrees.iemocap,
        rows=(14, 5, 5),
        failures={"missing": 1, "no-source": 1},
        build=(*SMALL_PICTURES, *SMALL_SOUND, "clip_s=0.8"),
        train=(*SMALL_EYES, *SMALL_READER),
        encoders="audio=small-cnn,visual=small-cnn",
    ),
    Case(
        name="iemocap",
        variant="session-1",
        tree=rawtrees.iemocap,
        rows=(15, 4, 5),
        failures={"no-source": 1},
        build=(*SMALL_PICTURES, *SMALL_SOUND, "clip_s=0.8"),
        train=(*SMALL_EYES, *SMALL_READER),
        encoders="audio=small-cnn,visual=small-cnn",
    ),
    Case(
        name="cmu-mosi",
        tree=rawtrees.cmu_mosi,
        rows=(6, 2, 2),
        failures={},
        train=("encoder.layers=1",),
        task="regression",
        measure="acc2_nonzero",
    ),
    Case(
        name="cmu-mosi",
        variant="unaligned",
        tree=rawtrees.cmu_mosi_unaligned,
        rows=(2, 2, 2),
        failures={},
        build=("sequence.dtype=float16",),
        train=("encoder.layers=1", "task=regression"),
        task="regression",
        measure="mae",
    ),
    Case(
        name="cmu-mosi",
        variant="sdk",
        tree=rawtrees.cmu_mosi_sdk,
        rows=(6, 2, 2),
        failures={"not-array": 2},
        train=("encoder.layers=1",),
        task="regression",
        measure="f1",
    ),
    Case(
        name="music-avqa",
        tree=rawtrees.music_avqa,
        rows=(9, 4, 4),
        failures={"missing": 1},
        build=(*SMALL_PICTURES, *SMALL_SOUND, "clip_s=2"),
        train=(*SMALL_EYES, "encoder.question.width=48"),
        encoders="audio=small-cnn,visual=small-cnn",
        task="answers",
    ),
    Case(
        name="ave-segments",
        tree=rawtrees.ave_segments,
        rows=(7, 3, 2),
        failures={"missing": 1},
        build=(*SMALL_PICTURES, *SMALL_SOUND),
        train=SMALL_EYES,
        encoders="small-cnn",
        task="localisation",
    ),
    Case(
        name="ucf-101-three",
        tree=rawtrees.ucf_101_three,
        rows=(10, 2, 4),
        failures={},
        build=(*SMALL_PICTURES, "flow.short_side=32"),
        train=SMALL_EYES,
        encoders="small-cnn",
    ),
)


def run(program: Command, *words: object) -> Any:
    """JSON that a command prints; it has to succeed."""
    done = CliRunner().invoke(program, [*map(str, words), "--json"])
    assert done.exit_code == 0, done.output + repr(done.exception)
    return json.loads(done.stdout)


def settings(values: tuple[str, ...]) -> list[str]:
    return [word for value in values for word in ("--set", value)]


@pytest.fixture(scope="module", params=CASES, ids=str)
def built(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Case, Path]:
    """A case and its shards."""
    case: Case = request.param
    folder = tmp_path_factory.mktemp(str(case))
    raw, lists, out = folder / "raw", folder / "lists", folder / "shards"
    raw.mkdir()
    lists.mkdir()
    case.tree(raw, lists)
    annotations = ["--annotations", lists] if any(lists.iterdir()) else []
    variant = ["--variant", case.variant] if case.variant else []
    command = ["build", "--dataset", case.name, *variant, "--raw", raw, *annotations, "--out", out]
    report = run(mmprep, *command, "--workers", 1, "--max-failed", 0.5, *settings(case.build))
    assert report["failures"] == case.failures
    return case, out


def test_every_clip_is_built_or_named_and_every_byte_is_right(built: tuple[Case, Path]) -> None:
    case, out = built
    assert run(mmprep, "verify", out)["faults"] == []
    with Shards(LocalStore(out)) as shards:
        rows = Counter(shards.dataset.splits[n].name for n in shards.index.split.tolist())
        assert tuple(rows[split] for split in ("train", "val", "test")) == case.rows
        assert shards.dataset.task == case.task
