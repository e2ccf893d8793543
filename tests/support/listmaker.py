"""Small lists of the official grammars, written and read back."""

from dataclasses import replace
from pathlib import Path

from mmprep.datasets import spec
from mmprep.datasets.lists import Listed, Lists, read

K400 = "label,youtube_id,time_start,time_end,split,is_cc\n"


def listed(
    folder: Path, name: str, variant: str | None = None, **lists: str | bytes
) -> dict[str, Listed]:
    """Clips by key, with train kept whole; ``train__csv="..."`` writes a list ``train.csv``."""
    for file, content in lists.items():
        raw = content if isinstance(content, bytes) else content.encode()
        (folder / file.replace("__", ".")).write_bytes(raw)
    data = spec.load(name, variant)
    data = replace(data, lists={**data.lists, "val_share": 0.0}, expected={})
    return {clip.key: clip for clip in read(Lists(folder, None), data)}
