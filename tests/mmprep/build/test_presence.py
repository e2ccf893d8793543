"""The files of a manifest's clips: there, absent, or behind a link out of the raw folder."""

import gc

from mmprep.build.collection import without_collection
from mmprep.build.request import Request, make_plan
from mmprep.manifest import Row, write_csv


def test_links_are_followed_to_where_they_lead(tmp_path):
    raw, other = tmp_path / "raw", tmp_path / "other"
    for folder in (raw / "in", other):
        folder.mkdir(parents=True)
        (folder / "a.mp4").touch()
    (raw / "to-other").symlink_to(other)
    (raw / "to-in").symlink_to(raw / "in")
    (raw / "in" / "out.mp4").symlink_to(other / "a.mp4")
    (raw / "in" / "near.mp4").symlink_to(raw / "in" / "a.mp4")
    (raw / "in" / "gone.mp4").symlink_to(raw / "nowhere.mp4")
    causes = {
        "in/a.mp4": "",
        "in/none.mp4": "missing",
        "in/out.mp4": "outside-raw",
        "in/near.mp4": "",
        "in/gone.mp4": "missing",
        "to-other/a.mp4": "outside-raw",
        "to-in/a.mp4": "",
        "nowhere/a.mp4": "missing",
        "in/a.mp4/a.mp4": "missing",
    }
    rows = [
        Row(key=f"k{number}", label="0", split="train", sources={"video": path})
        for number, path in enumerate(causes)
    ]
    write_csv(rows, tmp_path / "m.csv")
    plan = make_plan(Request(dataset=None, raw=raw, manifest=tmp_path / "m.csv"))
    found = {row.source: "" for task in plan.tasks for row in task.rows}
    assert found | {failure.source: failure.cause for failure in plan.absent} == causes


def test_collection_goes_on_behind_the_pause_and_stays_off_where_it_was():
    enabled = gc.isenabled()
    try:
        for before in (True, False):
            (gc.enable if before else gc.disable)()
            with without_collection():
                assert not gc.isenabled()
            assert gc.isenabled() == before
    finally:
        (gc.enable if enabled else gc.disable)()
