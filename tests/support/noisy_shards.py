"""A finished data set whose records have the noise of the clips."""

import io
import json

import numpy as np

from mmprep.format import DATASET, INDEX, Dataset, ShardWriter, SplitInfo, write_index

CLASSES = ("even", "odd")


def make_noisy_shards(folder, noises):
    """Writes a sample of the split test for each noise; None gives a record without one."""
    file = io.BytesIO()
    writer = ShardWriter(file, ("spectrogram",))
    sound = io.BytesIO()
    np.save(sound, np.zeros((2, 3), np.float16))
    rows = []
    for i, noise in enumerate(noises):
        extra = {} if noise is None else {"extra": {"noise": noise}}
        record = json.dumps({"key": f"clip{i}", **extra}).encode()
        entry = writer.write(f"clip{i}", {"json": [record], "spectrogram": [sound.getvalue()]})
        rows.append((entry, i % 2, 0, 0))
    writer.close()
    (folder / "test").mkdir(parents=True)
    (folder / "test/000000.tar").write_bytes(file.getvalue())
    shard = writer.info("test/000000.tar", len(rows))
    table = write_index(
        rows,
        classes=CLASSES,
        splits=("test",),
        shards=[shard.name],
        parts=("json", "spectrogram"),
    )
    (folder / INDEX).write_bytes(table)
    dataset = Dataset(
        name="noisy",
        title="Clips under noise",
        classes=CLASSES,
        modalities=("audio",),
        parts={"names": ["spectrogram"]},
        splits={"test": SplitInfo(samples=len(rows), classes={})},
        shards=(shard,),
        failures={},
        files={},
        made_by={},
    )
    (folder / DATASET).write_text(dataset.to_json(), "utf-8")
    return folder
