"""Data sets from raw trees in their official layouts: built, verified, and trained by their recipe.

Trees are small and made here, encoders are shrunk; all goes through the command lines.
"""

import io
import json
import shutil
import tomllib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
from click import Command
from click.testing import CliRunner
from numpy.typing import NDArray

from mmprep.cli.main import main as mmprep
from mmprep.shards import Shards
from mmprep.storage.store import LocalStore
from mmtrain.cli.main import main as mmtrain
from mmtrain.config import recipes
from tests.support import rawtrees
from tests.support.media import number_of

pytestmark = pytest.mark.slow

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
        check: Function that looks at the samples.
        build: Changes of the parts' parameters, which shrink them.
        train: Changes of the run's parameters, which shrink the encoders.
        encoders: Encoders that take the place of the recipe's.
        variant: Variant of the data set.
        task: Task of the data set.
        measure: A measure of the run's task.
    """

    name: str
    tree: Callable[[Path, Path], None]
    rows: tuple[int, int, int]
    failures: dict[str, int]
    check: Callable[[Shards], None]
    build: tuple[str, ...] = ()
    train: tuple[str, ...] = ()
    encoders: str = ""
    variant: str = ""
    task: str = "classification"
    measure: str = "macro_f1"

    def __str__(self) -> str:
        return "-".join(filter(None, (self.name, self.variant)))


def text_of(shards: Shards, key: str, part: str = "text") -> str:
    return shards.read(shards.index.find(key), [part])[part][0].decode()


def array_of(shards: Shards, key: str, part: str) -> NDArray[Any]:
    content = shards.read(shards.index.find(key), [part])[part][0]
    array: NDArray[Any] = np.load(io.BytesIO(content))
    return array


def check_twitter(shards: Shards) -> None:
    assert text_of(shards, "train-0001") == 'RT @ a : $T$ is n° 0 , "so" 😀 مرحبا'
    assert text_of(shards, "test-0002", "target") == "entity 1"
    # The first two have picture 0, of which Twitter2017 has another; picture 2 is a GIF.
    shown = [shards.read(shards.index.find(f"train-000{n}"))["frames"][0] for n in (1, 2, 3)]
    assert [number_of(simplejpeg.decode_jpeg(picture)) for picture in shown] == [0, 0, 2]


def check_sarcasm(shards: Shards) -> None:
    assert text_of(shards, "900000") == "it 's n° 0 ❤ , yes"
    labels = [shards.record(shards.index.find(f"90000{n}"))["label"] for n in (0, 1)]
    assert labels == ["not sarcastic", "sarcastic"]


def check_mvsa(shards: Shards) -> None:
    # Of one text in UTF-8 and one in Latin-1.
    assert text_of(shards, "2") == "RT @a: café n. 0\r\n"
    assert text_of(shards, "3") == "RT @a: café n. 1\r\n"


def check_iemocap(shards: Shards) -> None:
    record = shards.record(shards.index.find("Ses03F_impro01_M001"))
    assert record["label"] == "happy"
    assert (record["start"], record["end"]) == (1.1, 1.9)
    assert record["sources"]["audio"].endswith("dialog/wav/Ses03F_impro01.wav")
    assert record["sources"]["video"].endswith("dialog/avi/DivX/Ses03F_impro01.avi")
    assert text_of(shards, "Ses03F_impro01_M001") == "Turn 1, really?"


def check_mosi(shards: Shards) -> None:
    record = shards.record(0)
    assert shards.index.target is not None
    assert record["target"] == shards.index.target[0].tolist()
    # -inf of silence became 0, and is counted.
    assert record["checks"]["nonfinite"] == 1
    speech = array_of(shards, record["key"], "speech")
    assert (speech.shape, speech.dtype, speech[0, 0]) == ((6, 5), np.float32, 0)
    assert array_of(shards, record["key"], "words").shape == (6, 300)


def check_unaligned_mosi(shards: Shards) -> None:
    key = shards.record(0)["key"]
    assert array_of(shards, key, "speech").shape == (18, 5)
    assert array_of(shards, key, "face").shape == (6, 20)
    assert array_of(shards, key, "face").dtype == np.float16


def check_sdk_mosi(shards: Shards) -> None:
    # Steps whose middle is in the segment: of 1.5 s, at 20, 10 and 4 a second.
    shapes = {p: len(array_of(shards, "tmZoasNr4rU_1", p)) for p in ("speech", "face", "words")}
    assert shapes == {"speech": 30, "face": 15, "words": 6}


def check_music(shards: Shards) -> None:
    first, second = (shards.index.find(f"train-va00000000-q{n}") for n in (0, 1))
    assert shards.read(first)["frames"] == shards.read(second)["frames"]
    questions = [shards.read(row)["question"][0].decode() for row in (first, second)]
    assert questions == ["Is the piano louder than the flute?", "How many ukulele sound \uff1f"]
    assert shards.index.groups == ("Audio Comparative", "Visual Counting")
    # A deleted question leaves the other one of its clip.
    assert sum(key.startswith(b"train-va00000001") for key in shards.index.key.tolist()) == 1


def check_segments(shards: Shards) -> None:
    assert shards.index.target is not None
    row = shards.index.find("-vid0000001_1_9_02")
    assert shards.index.target[row].tolist() == [28, *[2] * 8, 28]
    assert len(shards.read(row)["frames"]) == 10
    assert shards.record(row)["extra"]["also_in"] == "val"


def check_three(shards: Shards) -> None:
    assert {len(pictures) for pictures in shards.read(0).values()} == {1, 2}
    assert any(b"HandStandPushups" in key for key in shards.index.key.tolist())


CASES = (
    Case(
        name="twitter2015",
        tree=rawtrees.twitter2015,
        rows=(5, 2, 2),
        failures={"missing": 1},
        check=check_twitter,
        build=SMALL_PICTURES,
        train=(*SMALL_EYES, *SMALL_READER),
        encoders="visual=small-cnn",
    ),
    Case(
        name="sarcasm",
        tree=rawtrees.sarcasm,
        rows=(6, 2, 2),
        failures={"missing": 1, "not-utf-8": 1},
        check=check_sarcasm,
        build=SMALL_PICTURES,
        train=(*SMALL_EYES, *SMALL_READER),
        encoders="visual=small-cnn",
    ),
    Case(
        name="mvsa-single",
        tree=rawtrees.mvsa_single,
        rows=(8, 2, 2),
        failures={"missing": 1, "empty-text": 1},
        check=check_mvsa,
        build=SMALL_PICTURES,
        train=(*SMALL_EYES, *SMALL_READER),
        encoders="visual=small-cnn",
    ),
    Case(
        name="iemocap",
        tree=rawtrees.iemocap,
        rows=(14, 5, 5),
        failures={"missing": 1, "no-source": 1},
        check=check_iemocap,
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
        check=check_iemocap,
        build=(*SMALL_PICTURES, *SMALL_SOUND, "clip_s=0.8"),
        train=(*SMALL_EYES, *SMALL_READER),
        encoders="audio=small-cnn,visual=small-cnn",
    ),
    Case(
        name="cmu-mosi",
        tree=rawtrees.cmu_mosi,
        rows=(6, 2, 2),
        failures={},
        check=check_mosi,
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
        check=check_unaligned_mosi,
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
        check=check_sdk_mosi,
        train=("encoder.layers=1",),
        task="regression",
        measure="f1",
    ),
    Case(
        name="music-avqa",
        tree=rawtrees.music_avqa,
        rows=(9, 4, 4),
        failures={"missing": 1},
        check=check_music,
        build=(*SMALL_PICTURES, *SMALL_SOUND, "clip_s=2"),
        train=(*SMALL_EYES, "encoder.question.width=48"),
        encoders="audio=small-cnn,visual=small-cnn",
        task="answers",
        measure="groups",
    ),
    Case(
        name="ave-segments",
        tree=rawtrees.ave_segments,
        rows=(7, 3, 2),
        failures={"missing": 1},
        check=check_segments,
        build=(*SMALL_PICTURES, *SMALL_SOUND),
        train=SMALL_EYES,
        encoders="small-cnn",
        task="localisation",
        measure="background",
    ),
    Case(
        name="ucf-101-three",
        tree=rawtrees.ucf_101_three,
        rows=(10, 2, 4),
        failures={},
        check=check_three,
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
    assert run(mmprep, "verify", out)["ok"]
    with Shards(LocalStore(out)) as shards:
        rows = Counter(shards.index.splits[n] for n in shards.index.split.tolist())
        assert tuple(rows[split] for split in ("train", "val", "test")) == case.rows
        assert shards.dataset.task == case.task
        case.check(shards)


def test_the_recipe_trains_an_epoch(built: tuple[Case, Path], tmp_path: Path) -> None:
    case, out = built
    encoders = ["--encoder", case.encoders] if case.encoders else []
    command = ["train", "--data", out, "--recipe", case.name, *encoders, *settings(case.train)]
    length = ["--epochs", 1, "--batch-size", 2]
    result = run(mmtrain, *command, *length, "--device", "cpu", "--workers", 1, "--out", tmp_path)
    recipe = tomllib.loads(recipes.text(case.name))
    assert result["modalities"] == recipe.get("modalities", ["audio", "visual"])
    assert case.measure in result["test"]
    assert all(np.isfinite(each["loss"]) for each in result["test"]["modalities"].values())
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 1


def test_texts_of_the_list_need_no_files_of_pictures(tmp_path: Path) -> None:
    raw, lists = tmp_path / "raw", tmp_path / "lists"
    raw.mkdir()
    lists.mkdir()
    rawtrees.twitter2015(raw, lists)
    shutil.rmtree(raw)
    raw.mkdir()
    command = ["build", "--dataset", "twitter2015", "--raw", raw, "--annotations", lists]
    words = [*command, "--out", tmp_path / "out", "--workers", 1, "--parts"]
    assert run(mmprep, *words, "text,target")["splits"] == {"train": 6, "val": 2, "test": 2}
    refused = CliRunner().invoke(mmprep, [*map(str, words), "spectrogram", "--force"])
    assert refused.exit_code == 2
    assert "twitter2015 has image; that gives no spectrogram" in refused.stderr
