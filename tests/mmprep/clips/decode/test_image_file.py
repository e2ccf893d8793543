"""Still images of every common kind, told apart by their bytes and not by their names."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mmprep.clips.decode.image_file import read_image
from mmprep.failure import ClipError

RED, BLUE, WHITE = (200, 30, 60), (20, 180, 220), (255, 255, 255)


def scene() -> Image.Image:
    """A picture 64 x 40: red on the left, blue on the right."""
    pixels = np.zeros((40, 64, 3), np.uint8)
    pixels[:, :32], pixels[:, 32:] = RED, BLUE
    return Image.fromarray(pixels)


def glass(**corners: int) -> Image.Image:
    """The same, with the alpha of its lower half."""
    pixels = np.dstack([np.asarray(scene()), np.full((40, 64), 255, np.uint8)])
    pixels[20:, :, 3] = corners.get("alpha", 0)
    return Image.fromarray(pixels)


def read(path: Path, picture: Image.Image, **options: Any) -> NDArray[np.uint8]:
    picture.save(path, **options)
    return read_image(path)


def near(pixel: Any, colour: tuple[int, ...], by: int = 4) -> bool:
    return bool(np.abs(np.asarray(pixel, int) - colour).max() <= by)


@pytest.mark.parametrize(
    ("name", "mode", "options"),
    [
        ("a.jpg", "RGB", {"quality": 95}),
        ("progressive.jpg", "RGB", {"quality": 95, "progressive": True}),
        ("cmyk.jpg", "CMYK", {"quality": 95}),
        ("a.png", "RGB", {}),
        ("a.bmp", "RGB", {}),
        ("lossless.webp", "RGB", {"lossless": True}),
        ("lossy.webp", "RGB", {"quality": 95}),
        ("a.tif", "RGB", {}),
    ],
)
def test_kinds_of_files(tmp_path: Path, name: str, mode: str, options: dict[str, Any]) -> None:
    picture = read(tmp_path / name, scene().convert(mode), **options)
    assert (picture.shape, picture.dtype) == ((40, 64, 3), np.uint8)
    assert near(picture[10, 10], RED)
    assert near(picture[30, 50], BLUE)


@pytest.mark.parametrize("name", ["a.gif", "a.png"])
def test_palettes(tmp_path: Path, name: str) -> None:
    picture = read(tmp_path / name, scene().quantize(8))
    assert near(picture[10, 10], RED)
    assert near(picture[30, 50], BLUE)


@pytest.mark.parametrize("suffix", ["gif", "webp"])
def test_the_first_picture_of_an_animation_is_taken(tmp_path: Path, suffix: str) -> None:
    pictures = [Image.new("RGB", (32, 32), colour) for colour in (RED, BLUE, WHITE)]
    pictures[0].save(
        tmp_path / f"a.{suffix}", save_all=True, append_images=pictures[1:], duration=40
    )
    assert near(read_image(tmp_path / f"a.{suffix}")[16, 16], RED)


def test_the_name_does_not_matter(tmp_path: Path) -> None:
    scene().quantize(8).save(tmp_path / "a.gif")
    (tmp_path / "a.gif").rename(tmp_path / "a.jpg")
    assert near(read_image(tmp_path / "a.jpg")[10, 10], RED)


def test_sixteen_bits_become_eight(tmp_path: Path) -> None:
    grey = np.full((40, 64), 0x8000, np.uint16)
    cv2.imwrite(str(tmp_path / "grey.png"), grey)
    assert near(read_image(tmp_path / "grey.png")[10, 10], (128, 128, 128), 1)
    glassy = np.zeros((40, 64, 4), np.uint16)
    glassy[..., 2], glassy[..., 3] = 0xFFFF, 0x8000
    cv2.imwrite(str(tmp_path / "glassy.png"), glassy)
    assert near(read_image(tmp_path / "glassy.png")[10, 10], (255, 127, 127), 1)


@pytest.mark.parametrize(("name", "options"), [("a.png", {}), ("a.webp", {"lossless": True})])
def test_white_shows_through_transparency(
    tmp_path: Path, name: str, options: dict[str, Any]
) -> None:
    picture = read(tmp_path / name, glass(), **options)
    assert near(picture[10, 10], RED, 0)
    assert near(picture[30, 10], WHITE, 0)
    # Half of red and half of white: (200 + 255) / 2, (30 + 255) / 2, (60 + 255) / 2.
    half = read(tmp_path / name, glass(alpha=128), **options)
    assert near(half[30, 10], (227, 142, 157), 1)


@pytest.mark.parametrize("suffix", ["gif", "png"])
def test_a_transparent_colour_of_a_palette_is_white(tmp_path: Path, suffix: str) -> None:
    picture = scene().quantize(8)
    red = picture.getpixel((10, 10))
    seen = read(tmp_path / f"a.{suffix}", picture, transparency=red)
    assert near(seen[10, 10], WHITE)
    assert near(seen[30, 50], BLUE)


@pytest.mark.parametrize(("name", "options"), [("a.jpg", {"quality": 95}), ("a.webp", {})])
def test_a_picture_is_turned_as_its_exif_says(
    tmp_path: Path, name: str, options: dict[str, Any]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter to the right: left becomes top
    picture = read(tmp_path / name, scene(), exif=exif, **options)
    assert picture.shape == (64, 40, 3)
    assert near(picture[10, 20], RED, 8)
    assert near(picture[50, 20], BLUE, 8)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.99])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_that_was_cut_off_is_refused(
    tmp_path: Path, share: float, progressive: bool
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    thumbnail = Image.Exif()
    thumbnail[0x010E] = "\xff\xd9"
    path = tmp_path / "a.jpg"
    Image.fromarray(noise).save(path, progressive=progressive, exif=thumbnail)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ClipError) as caught:
        read_image(path)
    assert caught.value.cause == "truncated"


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.gif", "a.bmp"])
def test_other_pictures_that_were_cut_off_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    scene().save(path)
    content = path.read_bytes()
    for share in (0.3, 0.6, 0.9):
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(ValueError, match="not an image"):
            read_image(path)


def test_what_follows_a_picture_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    scene().save(path)
    path.write_bytes(path.read_bytes() + b"trailer of some camera")
    assert near(read_image(path)[10, 10], RED)


@pytest.mark.parametrize(
    "head",
    [
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\1\0\0\0\1\0\0\x08\2\0\0\0",
        b"BM" + bytes(16) + b"\0\0\1\0\0\0\1\0" + bytes(40),
        b"GIF89a\xff\xff\xff\xff\0\0\0",
    ],
    ids=["png", "bmp", "gif"],
)
def test_a_picture_that_claims_too_many_pixels_is_refused(tmp_path: Path, head: bytes) -> None:
    (tmp_path / "a").write_bytes(head)
    with pytest.raises(ClipError) as caught:
        read_image(tmp_path / "a")
    assert caught.value.cause == "too-large"


def test_a_jpeg_that_claims_too_many_pixels_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    scene().save(path)
    content = bytearray(path.read_bytes())
    at = content.find(b"\xff\xc0")
    content[at + 5 : at + 9] = b"\xff\xdc\xff\xdc"
    path.write_bytes(content)
    with pytest.raises(ClipError) as caught:
        read_image(path)
    assert caught.value.cause == "too-large"


@pytest.mark.parametrize(
    ("options", "at", "claim"),
    [
        ({"quality": 90}, 26, b"\xff\x3f\xff\x3f"),
        ({"lossless": True}, 21, b"\xff\xff\xff\x0f"),
        ({"quality": 90, "exif": Image.Exif().tobytes()}, 24, b"\xff\x3f\0\xff\x3f\0"),
    ],
    ids=["lossy", "lossless", "extended"],
)
def test_a_webp_that_claims_too_many_pixels_is_refused(
    tmp_path: Path, options: dict[str, Any], at: int, claim: bytes
) -> None:
    path = tmp_path / "a.webp"
    scene().save(path, **options)
    content = bytearray(path.read_bytes())
    # 16,383 x 16,383, the largest that a picture may claim.
    content[at : at + len(claim)] = claim
    path.write_bytes(content)
    with pytest.raises(ClipError) as caught:
        read_image(path)
    assert caught.value.cause == "too-large"
    assert "1638" in caught.value.message


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"no image at all")
    with pytest.raises(ValueError, match="not an image"):
        read_image(tmp_path / "a.jpg")
