"""Samples of every kind on the report's page."""

import numpy as np

from mmtrain.data import open_dataset
from mmtrain.modalities import SEQUENCE, TOKENS
from mmtrain.report.sections.samples import _DRAW, gallery
from tests.support.streammaker import make_data, text


def drawn(kind, values):
    return str(_DRAW[kind](np.asarray(values), "text of a sample"))


def test_texts_are_shown_as_they_are_and_sequences_in_colours(tmp_path):
    data = open_dataset(
        make_data(tmp_path, parts=("frames", "text", "speech"), lacking={3: ("text", "speech")})
    )
    page = str(gallery(data, ("visual", "text", "speech"), np.array([1, 2, 3]), ["a", "b", "c"]))

    assert text(1) in page
    assert text(2) in page
    assert 'dir="auto"' in page
    assert page.count("(no text)") == page.count("(no steps)") == 1
    assert page.count('class="sound"') == 2


def test_a_text_is_escaped_and_one_that_was_cut_ends_in_dots():
    coded = [byte + 1 for byte in "<b>né".encode()]

    assert "&lt;b&gt;né" in drawn(TOKENS, [*coded, 0, 0])
    # The last byte of é is cut off.
    assert "&lt;b&gt;n …" in drawn(TOKENS, coded[:-1])


def test_a_sequence_of_equal_steps_can_be_drawn():
    assert "data:image/jpeg" in drawn(SEQUENCE, np.ones((4, 3)))
