"""A ready manifest, as `mmprep.manifest` writes it."""

from mmprep.datasets.lists.listed import Lists, files
from mmprep.datasets.spec import Spec
from mmprep.manifest import Listed, read_csv


def read(lists: Lists, spec: Spec) -> list[Listed]:
    """Reads the rows of the manifest; their sources have to exist under exactly these paths.

    Raises:
        ConfigError: There is no manifest.
        DataError: A line is malformed; the message names it.
    """
    return [
        Listed(
            key=row.key,
            label=row.label,
            split=row.split,
            names={kind: (source,) for kind, source in row.sources.items()},
            start=row.start,
            end=row.end,
            extra=row.extra,
            span=row.listed,
            target=row.target,
            group=row.group,
            texts=row.texts,
            questions=row.questions,
        )
        for row in read_csv(lists.need(files(spec, "manifest"), spec), lists.raw)
    ]
