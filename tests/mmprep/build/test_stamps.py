"""Sources that change between two runs of a build are named."""

import os
import shutil

import pytest

from mmprep.build.stamps import Stamp, changed_sources, stamps_of
from mmprep.errors import DataError
from tests.support.builds import plan_of, rows_of, run, spoil


def plan(raw, **options):
    from dataclasses import replace

    return replace(plan_of(raw, rows_of()), stamps=stamps_of(rows_of(), raw, {}, **options))


def test_a_source_that_was_replaced_is_named(raw, clips, tmp_path):
    broken = rows_of()[-1]
    spoil(raw, [broken])
    with pytest.raises(DataError):
        run(plan(raw), tmp_path / "out", max_failed=0.0)
    first = raw / rows_of()[0].source
    first.unlink()
    shutil.copy(clips / rows_of()[1].source, first)
    report = run(plan(raw), tmp_path / "out")
    assert report.changed == (rows_of()[0].source,)


def test_nothing_is_named_where_nothing_changed(raw, tmp_path):
    spoil(raw, rows_of()[-1:])
    with pytest.raises(DataError):
        run(plan(raw), tmp_path / "out", max_failed=0.0)
    assert run(plan(raw), tmp_path / "out").changed == ()


def test_times_count_in_one_place_only_and_digests_decide(tmp_path):
    old = {"a": Stamp(3, 1), "b": Stamp(3, 1, "x"), "c": Stamp(3), "d": Stamp(3, 1)}
    new = {"a": Stamp(3, 2), "b": Stamp(3, 2, "x"), "c": Stamp(4), "e": Stamp(3, 1)}
    assert changed_sources(old, new, same_place=True) == ["a", "c"]
    assert changed_sources(old, new, same_place=False) == ["c"]
    assert changed_sources({"b": Stamp(3, 1, "x")}, {"b": Stamp(3, 1, "y")}, same_place=True)


def test_a_digest_sees_a_change_that_keeps_size_and_time(raw, clips):
    source = rows_of()[0].source
    before = stamps_of(rows_of(), raw, {}, hashes=True)
    data = bytearray((raw / source).read_bytes())
    data[-1] ^= 1
    status = (raw / source).stat()
    (raw / source).unlink()
    (raw / source).write_bytes(data)
    os.utime(raw / source, ns=(status.st_atime_ns, status.st_mtime_ns))
    after = stamps_of(rows_of(), raw, {}, hashes=True)
    assert changed_sources(before, after, same_place=True) == [source]


def test_sizes_in_a_bucket_come_from_its_listing():
    rows = rows_of()[:1]
    assert stamps_of(rows, "s3://b/raw", {rows[0].source: 7}) == {rows[0].source: Stamp(7)}
