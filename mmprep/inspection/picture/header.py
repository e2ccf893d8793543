"""The head of the picture: the sample's key, its source, and the results of its checks."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from mmprep.inspection.picture.sheet import ACCENT, LEFT, MUTED, Sheet, elide
from mmprep.inspection.picture.view import View

_HEIGHT: Final = 190
# Check to its words when all is well, and when it is not.
_WORDS: Final[Mapping[str, tuple[str, str]]] = {
    "no_audio": ("has sound", "no sound"),
    "silent": ("audible", "silent"),
    "black": ("not black", "black"),
    "frozen": ("moving", "frozen"),
    "duration_mismatch": ("durations agree", "sound and picture differ in length"),
    "looped": ("sound fills the clip", "sound looped to fill the clip"),
    "damaged": ("no damage", "{} damaged packets"),
    "nonfinite": ("all features finite", "values that were no numbers, now 0: {}"),
    "clipped": ("no feature too large", "values too large for their type: {}"),
}
_OK: Final = ("#17613a", "#dcf3e4")
_WARNING: Final = ("#7a4a00", "#ffe6b3")


@dataclass(frozen=True, kw_only=True)
class Header:
    """The panel at the top."""

    view: View

    @property
    def height(self) -> float:
        """Height of the panel in pixels."""
        return _HEIGHT

    def draw(self, sheet: Sheet, top: float) -> None:
        """Draws the panel from ``top`` pixels downwards."""
        sheet.text(LEFT, top, self.view.key, px=26, bold=True)
        sheet.text(LEFT, top + 38, elide(self.view.label, 100), px=18, colour=ACCENT)
        left: float = LEFT
        for name, value in facts(self.view):
            name_width = sheet.text(left, top + 74, name, px=12, colour=MUTED)
            left += max(name_width, sheet.text(left, top + 93, value, px=15)) + 36
        left = LEFT
        missing = ((f"lacks {name}", False) for name in self.view.missing)
        for text, ok in (*missing, *chips(self.view.checks)):
            ink, fill = _OK if ok else _WARNING
            left += 8 + sheet.chip(left, top + 130, f"{'✓' if ok else '⚠'} {text}", ink, fill)


def facts(view: View) -> Iterator[tuple[str, str]]:
    """Yields the lines under the key as name and value, as far as the record has them."""
    record = view.record
    yield "split", view.split
    if len(view.target) == 1:
        yield "target", f"{view.target[0]:g}"
    if view.group:
        yield "group", elide(view.group, 40)
    if (seconds := record.get("duration_s")) is not None:
        yield "duration", f"{seconds:.2f} s"
    if span := _span(record):
        yield "span of the source", span
    if record.get("fps"):
        yield "source rate", f"{record['fps']:.4g} fps"
    if sound := _sound(record.get("audio") or {}):
        yield "sound", sound
    if babble := record.get("babble"):
        count = len(babble.get("clips", ()))
        yield "own sound above babble", f"{babble.get('ratio_db', 0):g} dB, {count} clips"
    if record.get("decoder"):
        yield "decoder", str(record["decoder"])
    sources = record.get("sources") or {}
    for kind, path in sources.items():
        yield f"source ({kind})", elide(str(path), 80 // len(sources))


def chips(checks: Mapping[str, bool | int]) -> Iterator[tuple[str, bool]]:
    """Yields each check in words, and whether all is well; warnings come first."""
    for name, value in sorted(checks.items(), key=lambda item: not item[1]):
        well, not_well = _WORDS.get(name, (f"not {name}", name))
        yield (not_well.format(value), False) if value else (well, True)


def _span(record: Mapping[str, Any]) -> str:
    start, end = record.get("start"), record.get("end")
    whole = record.get("source_duration_s")
    of = f" of {whole:.1f} s" if whole is not None else ""
    if start is None and end is None:
        return f"all{of}" if of else ""
    return f"{start or 0:g} to {'the end' if end is None else f'{end:g}'}{of}"


def _sound(audio: Mapping[str, Any]) -> str:
    rate, channels, codec = (audio.get(name) for name in ("rate_hz", "channels", "codec"))
    words = [str(codec)] if codec else []
    if rate:
        words.append(f"{rate / 1000:g} kHz")
    if channels:
        words.append({1: "mono", 2: "stereo"}.get(channels, f"{channels} channels"))
    return " ".join(words)
