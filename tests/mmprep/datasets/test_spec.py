import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from mmprep.cli.main import main
from mmprep.datasets import spec
from mmprep.datasets.lists import READERS
from mmprep.datasets.spec import Spec
from mmprep.errors import ConfigError, UnknownName

MINIMAL = """
title = "t"
reader = "folder"
modalities = ["visual"]
licence = "l"
classes = ["a", "b"]
[sources]
video = "any"
[parts]
names = ["frames"]
[lists]
val_share = 0.1
[lists.files]
train = ["train.csv"]
[expected]
train = 3
[variants.whole.lists]
val_share = 0.0
[variants.other]
classes = ["c"]
expected = {}
[variants.other.lists.files]
test = ["test.csv"]
"""


@pytest.fixture
def toml(tmp_path):
    def write(text):
        path = tmp_path / "mine.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize("name", spec.names())
def test_every_manifest_and_each_of_its_variants_loads(name):
    base = spec.load(name)
    assert base.name == name
    assert base.reader in READERS
    assert base.title
    assert base.licence
    for variant in base.variants:
        changed = spec.load(name, variant)
        assert changed.variant == variant


@pytest.mark.parametrize("name", spec.names())
def test_parts_serve_the_modalities(name):
    made_by = {"visual": "frames", "audio": "spectrogram", "flow": "flow"}
    data = spec.load(name)
    assert {made_by.get(m, m) for m in data.modalities} == set(data.parts.names)


def test_the_data_sets_of_the_papers_are_there():
    wanted = {"kinetics-sounds", "crema-d", "vggsound", "ucf-101", "ucf-101-three", "ave"}
    wanted |= {"twitter2015", "sarcasm", "mvsa-single", "iemocap", "cmu-mosi", "music-avqa"}
    wanted |= {"nvgesture", "av-mnist", "keypad", "folder", "ave-segments", "grid"}
    assert wanted <= set(spec.names())


@pytest.mark.parametrize(
    ("name", "classes"),
    [
        *(("kinetics-sounds", 31), ("crema-d", 6), ("vggsound", 309), ("ucf-101", 101)),
        *(("ave", 28), ("ave-segments", 29), ("twitter2015", 3), ("sarcasm", 2), ("iemocap", 4)),
        *(("mvsa-single", 3), ("cmu-mosi", 7), ("music-avqa", 42), ("grid", 10)),
    ],
)
def test_classes_are_counted(name, classes):
    assert len(spec.load(name).classes) == classes


def test_ave_by_the_second_has_the_classes_of_ave_and_background():
    assert spec.load("ave-segments").classes == (*spec.load("ave").classes, "background")


@pytest.mark.parametrize(
    ("name", "task"),
    [
        *(("ave-segments", "localisation"), ("music-avqa", "answers"), ("cmu-mosi", "regression")),
        *(("iemocap", "classification"), ("sarcasm", "classification")),
    ],
)
def test_tasks_are_those_of_the_papers(name, task):
    assert spec.load(name).task == task


def test_sizes_of_inputs_are_those_of_the_papers():
    def columns(data):
        sound = data.parts.spectrogram
        samples = round(data.parts.clip_s * sound.rate_hz)
        return (samples - sound.overlap) // (sound.window - sound.overlap)

    assert columns(spec.load("kinetics-sounds")) == 1004
    assert columns(spec.load("crema-d")) == 299
    gesture = spec.load("nvgesture").parts
    assert round(gesture.clip_s * gesture.frames.fps) == 80


def test_unknown_names_offer_the_nearest():
    with pytest.raises(UnknownName, match="did you mean kinetics-sounds"):
        spec.load("kinetics-sound")
    with pytest.raises(UnknownName, match="did you mean split-"):
        spec.load("ucf-101", "split2")
    with pytest.raises(UnknownName):
        spec.load("../spec")


def test_a_variant_changes_what_it_names_and_nothing_else(toml):
    path = toml(MINIMAL)
    base, other = Spec.from_toml(path), Spec.from_toml(path, "other")
    assert other.classes == ("c",)
    assert other.expected == {}
    assert other.lists["files"] == {"train": ["train.csv"], "test": ["test.csv"]}
    assert other.lists["val_share"] == 0.1
    assert (other.parts, other.sources, base.classes) == (base.parts, base.sources, ("a", "b"))


def test_variants_join(toml):
    both = Spec.from_toml(toml(MINIMAL), "other+whole")
    assert both.lists["val_share"] == 0.0
    assert both.classes == ("c",)
    assert both.variant == "other+whole"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('title = "t"', "title = ", "not TOML"),
        ('title = "t"', "", "no title"),
        ('title = "t"', 'titel = "t"', "titel.*did you mean title"),
        ('video = "any"', 'vidio = "any"', "vidio.*did you mean video"),
        ('video = "any"', "", "empty"),
        ('["frames"]', '["frame"]', "frame.*did you mean frames"),
        ('names = ["frames"]', "clip_seconds = 3", "clip_seconds"),
        ('names = ["frames"]', "frames = { fpss = 3 }", "fpss"),
        ('["a", "b"]', '["a", "a"]', "classes has an entry twice"),
        ('["a", "b"]', '"ab"', "classes is a list of strings"),
        ('licence = "l"', 'licence = "l"\noptional = ["audio"]', "optional 'audio'"),
    ],
)
def test_a_fault_names_the_file_and_the_fix(toml, old, new, message):
    assert old in MINIMAL
    with pytest.raises(ConfigError, match=message) as caught:
        Spec.from_toml(toml(MINIMAL.replace(old, new, 1)))
    assert "mine.toml" in str(caught.value)


def test_a_description_is_loaded_by_its_path(toml, monkeypatch):
    path = toml(MINIMAL)
    assert spec.load(str(path), "other").classes == ("c",)
    monkeypatch.chdir(path.parent)
    assert spec.load("mine.toml").name == "mine"
    with pytest.raises(ConfigError, match=r"absent\.toml: no such file"):
        spec.load("absent.toml")
    toml(MINIMAL.replace('title = "t"', ""))
    with pytest.raises(ConfigError, match=r"mine\.toml: no title"):
        spec.load("mine.toml")


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Installs a package whose entry point names ``value``, with one data set per name."""

    def install(value, *names):
        site = tmp_path / "site"
        folder = site / "plugin_of_a_test" / "manifests"
        folder.mkdir(parents=True)
        (site / "plugin_of_a_test" / "__init__.py").touch()
        (folder / "__init__.py").touch()
        for name in names:
            (folder / f"{name}.toml").write_text(MINIMAL, encoding="utf-8")
        info = site / "plugin_of_a_test-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin\nVersion: 1\n")
        (info / "entry_points.txt").write_text(f"[mmprep.datasets]\nmine = {value}\n")
        monkeypatch.syspath_prepend(str(site))
        return folder

    yield install
    for name in [name for name in sys.modules if name.startswith("plugin_of_a_test")]:
        del sys.modules[name]


def test_an_installed_package_adds_data_sets(install):
    before = spec.names()
    install("plugin_of_a_test.manifests", "my-clips")
    assert spec.names() == sorted([*before, "my-clips"])
    assert spec.load("my-clips", "whole").lists["val_share"] == 0.0


def test_data_sets_of_other_packages_are_listed(install):
    install("plugin_of_a_test.manifests", "my-clips")
    done = CliRunner().invoke(main, ["datasets", "--json"])
    assert done.exit_code == 0, done.output
    assert "my-clips" in {each["name"] for each in json.loads(done.stdout)["datasets"]}


def test_two_data_sets_of_one_name_are_refused_and_neither_hides_the_other(install):
    folder = install("plugin_of_a_test.manifests", "ave")
    with pytest.raises(ConfigError, match="two packages describe a data set ave"):
        spec.load("ave")
    assert spec.load("crema-d").name == "crema-d"
    assert spec.load(str(folder / "ave.toml")).title == "t"


def test_a_wrong_entry_point_is_named(install):
    install("plugin_of_a_test.absent", "my-clips")
    with pytest.raises(ConfigError, match=r"mine = plugin_of_a_test\.absent of plugin"):
        spec.names()


def test_a_data_set_is_built_from_a_file_outside_of_the_package(tmp_path, toml):
    path = toml(MINIMAL.partition("[lists]")[0].replace('classes = ["a", "b"]', ""))
    raw = tmp_path / "raw"
    for split in ("train", "test"):
        (raw / split / "a").mkdir(parents=True)
        (raw / split / "a" / "1.mp4").touch()
    arguments = ["--dataset", str(path), "--raw", str(raw), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(main, ["build", *arguments, "--dry-run"])
    assert done.exit_code == 0, done.output
    path.write_text(MINIMAL.replace("licence", "license"))
    done = CliRunner().invoke(main, ["build", *arguments, "--dry-run"])
    assert done.exit_code == 2
    assert f"{path}: " in done.stderr


def test_any_stands_for_the_suffixes_of_its_kind(toml):
    assert {"mp4", "avi", "flv", "mkv", "webm"} <= set(
        Spec.from_toml(toml(MINIMAL)).sources["video"]
    )


def test_loading_imports_no_decoder_and_no_torch():
    code = (
        "import sys; from mmprep.datasets import find, spec; spec.load('ave'); "
        "sys.exit(bool({'torch', 'cv2', 'av', 'decord', 'librosa'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
