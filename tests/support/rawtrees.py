"""Small raw trees of data sets in their official layouts, with the faults that real copies have.

Each function writes below ``raw`` and ``lists``, two empty folders.
"""

import json
import wave
from pathlib import Path

import cv2
import numpy as np
import simplejpeg

from tests.support.media import picture, tone, write_clip
from tests.support.mosi import write_csd, write_pickle

_SIZE = (40, 32)
# Ten samples: six of train, two of val, two of test.
_SPLITS = (("train", 6), ("val", 2), ("test", 2))
_MOSI_STEPS = 6
_FACES, _VOICES, _WORDS = 20, 5, 300


def write_picture(path: Path, number: int) -> None:
    """Writes a JPEG, whatever the suffix of ``path`` is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(simplejpeg.encode_jpeg(picture(number, _SIZE), colorspace="RGB"))


def twitter2015(raw: Path, lists: Path) -> None:
    """Tweets of which two share a picture; one picture is a GIF, one is missing."""
    text = {
        "train": 'RT @ a : $T$ is n° {n} , "so" 😀 مرحبا',
        "val": "$T$ again , {n}",
        "test": "how about $T$ ? {n}",
    }
    place = lists / "absa_data" / "twitter2015"
    place.mkdir(parents=True)
    images = raw / "IJCAI2019_data" / "twitter2015_images"
    number = 0
    for (split, count), name in zip(_SPLITS, ("train", "dev", "test"), strict=True):
        # The official test list lacks a column's name; rows have the same fields.
        label_column = "" if split == "test" else "#1 Label\t"
        rows = [f"index\t{label_column}#2 ImageID\t#3 String\t#3 String"]
        for n in range(count):
            image = number - 1 if n == 1 else number
            rows.append(f"{n + 1}\t{n % 3}\t{image}.jpg\t{text[split].format(n=n)}\tentity {n}")
            if n != 1:
                write_picture(images / f"{number}.jpg", number)
            number += 1
        (place / f"{name}.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    gif = images / "2.jpg"
    ok, content = cv2.imencode(".gif", picture(2, _SIZE))
    assert ok
    gif.write_bytes(content.tobytes())
    (images / "3.jpg").unlink()
    # The archive has the pictures of Twitter2017 too; here one with a shorter path.
    write_picture(raw / "twitter2017_images" / "0.jpg", 39)


def sarcasm(raw: Path, lists: Path) -> None:
    """Lists with CRLF; one line is left out by its words, one has half a letter, one no picture."""
    number = 900_000
    for (split, count), name in zip(_SPLITS, ("train", "valid2", "test2"), strict=True):
        rows = []
        for n in range(count):
            labels = f"{n % 2}" if split == "train" else f"{1 - n % 2}, {n % 2}"
            rows.append(f"['{number}', \"it 's n° {n} ❤ , yes\", {labels}]")
            write_picture(raw / "dataset_image" / f"{number}.jpg", number)
            number += 1
        if split == "train":
            rows += [f"['{number}', 'what # irony', 1]", rf"['{number + 1}', 'half \ud83d', 1]"]
            rows += [f"['{number + 2}', 'no picture', 0]"]
            write_picture(raw / "dataset_image" / f"{number + 1}.jpg", 1)
            number += 3
        (lists / f"{name}.txt").write_text("\r\n".join(rows) + "\r\n", encoding="utf-8", newline="")


def mvsa_single(raw: Path, lists: Path) -> None:
    """Texts in two encodings; one sample has no text, one an empty one, one opposite labels."""
    data = raw / "MVSA_Single" / "data"
    rows = ["ID\ttext,image"]
    tags = ("positive", "neutral", "negative")
    # By the hashes of their ids: 8 of train, 2 of val and 2 of test.
    for n, number in enumerate((2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 1, 30)):
        write_picture(data / f"{number}.jpg", number)
        encoding = "latin-1" if n % 2 else "utf-8"
        (data / f"{number}.txt").write_bytes(f"RT @a: café n. {n}\r\n".encode(encoding))
        rows.append(f"{number}\t{tags[n % 3]},{tags[n % 3] if n % 4 else 'neutral'}")
    for number in (100, 101, 102):
        write_picture(data / f"{number}.jpg", number)
        rows.append(f"{number}\tpositive,{'negative' if number == 102 else 'neutral'}")
    (data / "101.txt").write_text(" \n")
    (data / "102.txt").write_text("both\n")
    (raw / "MVSA_Single" / "labelResultAll.txt").write_text("\n".join(rows) + "\n")


def iemocap(raw: Path, lists: Path) -> None:
    """Five dialogues of four turns and more; one turn has no transcript, one list names another."""
    emotions = ("neu", "exc", "sad", "ang", "fru", "hap")
    names = {"neu": "Neutral", "exc": "Happy", "hap": "Happy", "sad": "Sad", "ang": "Angry"}
    chosen: dict[str, list[str]] = {"train": [], "test": []}
    for session in range(1, 6):
        dialogue = f"Ses{session:02d}F_impro01"
        place = raw / "IEMOCAP_full_release" / f"Session{session}" / "dialog"
        texts: dict[str, list[str]] = {"EmoEvaluation": [], "transcriptions": []}
        for n, emotion in enumerate(emotions):
            turn = f"{dialogue}_{'FM'[n % 2]}{n:03d}"
            texts["EmoEvaluation"] += [
                f"[{n}.1000 - {n}.9000]\t{turn}\t{emotion}\t[2.5000, 2.5000, 2.5000]",
                f"C-E2:\t{emotion};\t()\n",
            ]
            if turn != "Ses02F_impro01_F002":
                text = f"{turn} [00{n}.1000-00{n}.9000]: Turn {n}, really?"
                texts["transcriptions"] += [text, "M: [BREATHING]"]
            split = {5: "test", 4: ""}.get(session, "train")
            if split and emotion in names:
                row = f"{turn}.mp4 [split|sign] Turn {n}, really? [split|sign] {names[emotion]}"
                chosen[split].append(row)
        for kind, rows in texts.items():
            (place / kind).mkdir(parents=True)
            (place / kind / f"{dialogue}.txt").write_text("\n".join(rows) + "\n")
            (place / kind / f"._{dialogue}.txt").write_bytes(b"\x00\x05\x16\x07\xff")
        write_clip(place / "avi" / "DivX" / f"{dialogue}.avi", seconds=6, fps=5, size=_SIZE,
                   codec="mpeg4", audio_codec="mp3")  # fmt: skip
        (place / "avi" / "DivX" / f"._{dialogue}.avi").write_bytes(b"\x00\x05\x16\x07\xff")
        write_sound(place / "wav" / f"{dialogue}.wav", hz=200.0 * session)
    chosen["train"].append("Ses01M_impro07_F001.mp4 [split|sign] Gone. [split|sign] Sad")
    for split, rows in chosen.items():
        (lists / f"my_{split}_iemo.txt").write_text("\n".join(rows) + "\n")


def write_sound(path: Path, *, hz: float, seconds: float = 6) -> None:
    """Writes a WAV of 16 kHz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(tone(seconds, hz=hz).tobytes())


def cmu_mosi(raw: Path, lists: Path) -> None:
    """The aligned pickle."""
    write_pickle(raw / "mosi_data.pkl", _mosi_scores(), steps=_MOSI_STEPS)


def cmu_mosi_unaligned(raw: Path, lists: Path) -> None:
    """The unaligned pickle, with more steps of speech than there are words."""
    speech = np.zeros((2, 3 * _MOSI_STEPS, _VOICES))
    scores = {name: values[:2] for name, values in _mosi_scores().items()}
    write_pickle(raw / "mosi_data_noalign.pkl", scores, steps=_MOSI_STEPS, protocol=4, audio=speech)


def _mosi_scores() -> dict[str, list[float]]:
    return {"train": [-2.4, 0.0, 1.5, 3.0, -0.6, 2.2], "valid": [2.5, -1.0], "test": [-0.2, 1.0]}


def cmu_mosi_sdk(raw: Path, lists: Path) -> None:
    """Computational sequences of six videos with two segments; the last has no face."""
    folds = {"train": ["2iD-tVS8NPw", "_dI--eQ6qVU", "8d-gEyoeBzc"], "valid": ["03bSnISJMiM"],
             "test": ["tmZoasNr4rU", "zhpQhgha_KU"]}  # fmt: skip
    videos = [video for names in folds.values() for video in names]
    draw = np.random.default_rng(0)
    segments = [[0.0, 1.0], [1.0, 2.5]]
    scores = {v: ([[n - 2.0], [2.5 - n]], segments) for n, v in enumerate(videos)}
    write_csd(raw / "CMU_MOSI_Opinion_Labels.csd", scores)
    for name, width, rate in (
        ("COVAREP", _VOICES, 20),
        ("Visual_Facet_42", _FACES, 10),
        ("TimestampedWordVectors", _WORDS, 4),
    ):
        count = int(2.5 * rate)
        times = [[n / rate, (n + 1) / rate] for n in range(count)]
        shown = videos[:-1] if width == _FACES else videos
        table = {video: (draw.normal(size=(count, width)), times) for video in shown}
        write_csd(raw / f"CMU_MOSI_{name}.csd", table, name)
    lines = [f"standard_{fold}_fold={names!r}\n" for fold, names in folds.items()]
    (lists / "cmu_mosi_std_folds.py").write_text("".join(lines))


def music_avqa(raw: Path, lists: Path) -> None:
    """Two questions about each video, one of them deleted; one video is missing."""
    number = 0
    for split, count in _SPLITS:
        entries = []
        for n in range(count):
            # The first video of test is also that of val, as in the official lists.
            video = "va00000006" if (split, n) == ("test", 0) else f"va{number:08d}"
            questions = (
                "Is the <Object> louder than the <Object>?",
                "How many <Object> sound \uff1f",
            )
            for asked, text in enumerate(questions):
                entries.append(
                    {
                        "video_id": video,
                        "question_id": 2 * number + asked,
                        "type": ('["Audio", "Comparative"]', '["Visual", "Counting"]')[asked],
                        "question_content": text,
                        "templ_values": ('["piano", "flute"]', '["ukulele"]')[asked],
                        "question_deleted": int((split, n, asked) == ("train", 1, 1)),
                        "anser": (("yes", "no")[n % 2], ("two", "ten")[n % 2])[asked],
                    }
                )
            if (split, n) not in (("train", 5), ("test", 0)):
                write_clip(raw / "data" / "video" / f"{video}.mp4", seconds=2, fps=5, size=_SIZE)
            number += 1
        place = lists / "data" / "json" / f"avqa-{split}.json"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(json.dumps(entries))


def ave_segments(raw: Path, lists: Path) -> None:
    """Events of ten seconds; one video has two, one is in train and val, one is missing."""
    classes = ("Church bell", "Bark", "Cat")
    events: list[tuple[str, str, str, int, int]] = []
    number = 0
    for split, count in _SPLITS:
        for n in range(count):
            events.append((split, classes[n % 3], f"-vid{number:07d}", n % 4, 10 - n % 3))
            number += 1
    events += [("train", "Bark", "-vid0000000", 0, 10), ("val", "Bark", "-vid0000001", 2, 9)]
    events += [("train", "Cat", "-gone000000", 0, 0)]
    for split in ("train", "val", "test"):
        rows = [f"{label}&{video}&good&{start}&{end}" for s, label, video, start, end in events
                if s == split]  # fmt: skip
        header = ["Category&VideoID&Quality&StartTime&EndTime"] if split == "val" else []
        (lists / f"{split}Set.txt").write_text("\n".join(header + rows) + "\n")
    for n in range(number):
        path = raw / "AVE_Dataset" / "AVE" / f"-vid{n:07d}.mp4"
        write_clip(path, seconds=10, fps=2, size=_SIZE, rate=8_000)


def ucf_101_three(raw: Path, lists: Path) -> None:
    """Clips of two classes in groups; a folder and its files differ in case."""
    folders = {"ApplyEyeMakeup": "ApplyEyeMakeup", "HandstandPushups": "HandStandPushups"}
    (lists / "classInd.txt").write_text("1 ApplyEyeMakeup\r\n37 HandstandPushups\r\n", newline="")
    rows: dict[str, list[str]] = {"trainlist01": [], "testlist01": []}
    for number, (folder, stem) in zip((1, 37), folders.items(), strict=True):
        for group in range(1, 9):
            name = f"{folder}/v_{stem}_g{group:02d}_c01.avi"
            write_clip(raw / "UCF-101" / name, seconds=2, fps=5, size=_SIZE, codec="mpeg4",
                       sound=np.zeros(0, np.int16))  # fmt: skip
            test = group <= 2
            rows["testlist01" if test else "trainlist01"] += [name if test else f"{name} {number}"]
    for name, lines in rows.items():
        (lists / f"{name}.txt").write_text("\r\n".join(lines) + "\r\n", newline="")
