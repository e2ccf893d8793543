from click.testing import CliRunner

from mmprep.cli.main import main
from mmprep.config import PartsConfig
from mmprep.format import member_names
from mmprep.format.parts import PARTS, RECORD, part_named
from mmprep.manifest import SOURCES


def test_the_order_of_parts_is_part_of_the_format():
    assert list(PARTS) == [
        *("frames", "spectrogram", "flow", "difference", "depth"),
        *("text", "target", "question", "speech", "face", "words"),
    ]


def test_files_of_the_parts_are_named_as_the_format_says():
    names = {name: member_names("k", name, 2 if PARTS[name].numbered else 1) for name in PARTS}
    assert names == {
        "frames": ["k.frame00.jpg", "k.frame01.jpg"],
        "spectrogram": ["k.spectrogram.npy"],
        "flow": ["k.flow00.jpg", "k.flow01.jpg"],
        "difference": ["k.difference00.jpg", "k.difference01.jpg"],
        "depth": ["k.depth00.jpg", "k.depth01.jpg"],
        "text": ["k.text.txt"],
        "target": ["k.target.txt"],
        "question": ["k.question.txt"],
        "speech": ["k.speech.npy"],
        "face": ["k.face.npy"],
        "words": ["k.words.npy"],
    }
    assert part_named(RECORD).member_names("k", 1) == ["k.json"]


def test_no_two_parts_claim_the_same_file():
    stems = [(part.stem, part.suffix) for part in (*PARTS.values(), part_named(RECORD))]
    assert len(set(stems)) == len(stems)


def test_each_part_is_made_from_sources_that_a_manifest_may_name():
    for part in PARTS.values():
        assert part.made_from
        assert part.made_from <= set(SOURCES)


def test_a_data_set_records_only_the_settings_that_change_its_parts():
    tables = {"frames", "spectrogram", "flow", "text", "sequence"}
    for name, part in PARTS.items():
        assert tables & set(PartsConfig(names=(name,)).to_json()) == set(part.settings)


def test_the_help_of_build_names_every_part():
    text = " ".join(CliRunner().invoke(main, ["build", "--help"]).output.split())
    assert ", ".join(PARTS) in text
