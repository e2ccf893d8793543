import pytest

from mmprep.datasets.scan import scan
from mmprep.errors import ConfigError


def test_scan_leaves_out_what_is_hidden(tmp_path):
    for path in ("b/x.mp4", "a.mp4", "b/._x.mp4", ".git/y.mp4", "b/.hid/z.mp4"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"x")
    assert scan(tmp_path) == ["a.mp4", "b/x.mp4"]


def test_scan_takes_links_inside_and_reports_links_outside(tmp_path, caplog):
    raw, other = tmp_path / "raw", tmp_path / "other"
    raw.mkdir()
    other.mkdir()
    (other / "x.mp4").write_bytes(b"x")
    (raw / "a.mp4").write_bytes(b"x")
    (raw / "inside.mp4").symlink_to("a.mp4")
    (raw / "outside.mp4").symlink_to(other / "x.mp4")
    (raw / "folder").symlink_to(other)
    (raw / "loop").symlink_to(raw)
    (raw / "self.mp4").symlink_to("self.mp4")
    (raw / "gone.mp4").symlink_to("nowhere.mp4")
    found = scan(raw)
    assert found == ["a.mp4", "inside.mp4"]
    assert found.outside == ["folder", "outside.mp4"]
    assert "2 links lead out of it" in caplog.text


def test_raw_itself_may_be_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.mp4").write_bytes(b"x")
    (tmp_path / "raw").symlink_to("real")
    assert scan(tmp_path / "raw") == ["a.mp4"]


def test_names_that_are_not_utf8_are_left_out_and_said(tmp_path, caplog):
    (tmp_path / "a.mp4").write_bytes(b"x")
    try:
        (tmp_path / "caf\udce9.mp4").write_bytes(b"x")
    except OSError:
        pytest.skip("this disk takes UTF-8 names only")
    assert scan(tmp_path) == ["a.mp4"]
    assert "not UTF-8" in caplog.text


def test_no_folder_to_scan(tmp_path):
    with pytest.raises(ConfigError, match="no folder"):
        scan(tmp_path / "nowhere")
