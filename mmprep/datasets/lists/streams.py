"""Lists of recordings that have several streams, with a span of frames in each (NVGesture)::

    path:./Video_data/class_01/subject3_r0 depth:sk_depth:146:226 color:sk_color:146:226 ... label:1

A row of a manifest has one start and one end: those of the first stream of ``lists.streams``
(colour). The streams run on one clock, and in all but four rows their spans are the same. In those
four, depth differs by one frame, a thirtieth of a second, and its own frames are in ``extra``.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mmprep.datasets.lists.listed import Lists, files, option
from mmprep.datasets.lists.text import line_error, lines
from mmprep.datasets.spec import Spec
from mmprep.manifest import SPLITS, Listed, safe_key

# Decimals of times in seconds: far more exact than a frame, and readable in a CSV file.
_DECIMALS = 6


@dataclass(frozen=True)
class _Span:
    file: str
    first: int
    last: int


def read(lists: Lists, spec: Spec) -> list[Listed]:
    """Reads the clips of each split, and converts frames to seconds at ``lists.rate_hz``.

    Raises:
        ConfigError: A list is missing.
        DataError: A malformed line.
    """
    return [
        clip
        for split in SPLITS
        if files(spec, split)
        for clip in _clips(lists.need(files(spec, split), spec), split, spec)
    ]


def _clips(path: Path, split: str, spec: Spec) -> Iterator[Listed]:
    streams = option(spec, "streams", {})
    instead = option(spec, "instead", {})
    rate = option(spec, "rate_hz", 30.0)
    for line, text in lines(path):
        try:
            fields = dict(field.split(":", 1) for field in text.split())
            spans = {kind: _span(fields[stream]) for stream, kind in streams.items()}
            label = spec.classes[_number(fields["label"]) - 1]
            place = PurePosixPath(fields["path"])
            folder, recording = place.parts[-2:]
        except (ValueError, KeyError, IndexError) as error:
            wanted = (
                f"path, {', '.join(streams)} as :file:first:last, label 1 to {len(spec.classes)}"
            )
            raise line_error(path, line, text, f"expected {wanted}") from error
        main = next(iter(spans.values()))
        extra = {"subject": recording.partition("_")[0]}
        for kind, span in spans.items():
            if (span.first, span.last) != (main.first, main.last):
                extra[f"{kind}_frames"] = f"{span.first}:{span.last}"
        yield Listed(
            key=safe_key(f"{folder}_{recording}"),
            label=label,
            split=split,
            names={k: _names(f"{folder}/{recording}", s.file, instead) for k, s in spans.items()},
            start=round(main.first / rate, _DECIMALS),
            end=round(main.last / rate, _DECIMALS),
            extra=extra,
        )


def _names(folder: str, file: str, instead: dict[str, str]) -> tuple[str, ...]:
    own = f"{folder}/{file}"
    return (own, f"{folder}/{instead[file]}") if file in instead else (own,)


def _span(field: str) -> _Span:
    file, first, last = field.split(":")
    span = _Span(file, int(first), int(last))
    if not 0 <= span.first < span.last:
        raise ValueError(f"{field} is no span")
    return span


def _number(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError("labels begin at 1")
    return number
