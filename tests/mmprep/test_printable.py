"""Names from strangers' files never steer a terminal or a page; passwords are not printed."""

import json
import logging

import pytest

from mmprep.html.markup import el
from mmprep.printable import (
    PrintableFormatter,
    printable,
    printable_json,
    printable_values,
)
from mmprep.storage.redact import redacted

UNSAFE = ["\x1b", "\x00", "\x9b", "\x7f", "\r", "\u202e", "\u2066", "\u200f", "\u2028", "\ud800"]


@pytest.mark.parametrize("letter", UNSAFE)
def test_a_control_character_is_escaped_wherever_text_goes(letter):
    name = f"cat{letter}dog"
    record = logging.LogRecord("x", logging.INFO, "f", 1, "%s", (name,), None)
    texts = [
        printable(name),
        printable_values({name: [name]})[printable(name)][0],
        printable_json({"name": name}),
        PrintableFormatter("%(message)s").format(record),
        el("p", name, title=name),
    ]
    assert all(letter not in text for text in texts)
    assert json.loads(printable_json({"name": name})) == {"name": name}


def test_all_other_letters_stay():
    text = 'Übermut 打鼓 "a, b"\n\té'
    assert printable(text) == text
    assert printable_values("a\nb") == "a\\nb"


def test_urls_lose_their_password_and_keep_the_rest():
    assert redacted("at https://u:p@host/a@b: refused") == "at https://host/a@b: refused"
    assert printable("s3://bucket/a@b") == "s3://bucket/a@b"
    assert "secret" not in printable_json({"place": "http://me:secret@host/x"})
