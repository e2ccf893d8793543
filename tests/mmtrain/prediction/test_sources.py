from mmprep.storage.access import Access
from mmtrain.prediction.sources import find_clips


def test_files_of_one_name_and_different_kinds_are_one_clip(tmp_path, monkeypatch):
    names = ("a.png", "a.wav", "b.mp4", "b.jpg", "c.mp4", "c.avi", "d/a.wav", "e.txt", ".f/g.mp4")
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)

    def found(*places, texts=False):
        clips = find_clips(places, texts, Access())
        return [(clip.name, sorted(clip.sources)) for clip in clips]

    assert found(".") == [
        ("a.png", ["audio", "image"]),
        ("b.jpg", ["image"]),
        ("b.mp4", ["video"]),
        ("c.avi", ["video"]),
        ("c.mp4", ["video"]),
        ("d/a.wav", ["audio"]),
    ]
    assert found("e.txt", texts=True) == [("e.txt", ["text"])]
    assert found("d", "b.mp4") == [("d/a.wav", ["audio"]), ("b.mp4", ["video"])]
    (clip,) = find_clips(["d"], False, Access())
    assert (clip.raw / clip.sources["audio"]) == tmp_path / "d" / "a.wav"
