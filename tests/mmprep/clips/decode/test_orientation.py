"""All eight ways in which a display matrix can turn and mirror pictures."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mmprep.clips.decode.clip import Clip
from tests.support.media import write_clip
from tests.support.remux import write_matrix

QUARTERS = np.array([[60, 120], [180, 240]], np.uint8)

# The matrix (a, b, c, d), and what the quarters 60 120 / 180 240 become.
MATRICES = {
    (1, 0, 0, 1): [[60, 120], [180, 240]],
    (-1, 0, 0, 1): [[120, 60], [240, 180]],
    (1, 0, 0, -1): [[180, 240], [60, 120]],
    (-1, 0, 0, -1): [[240, 180], [120, 60]],
    (0, 1, 1, 0): [[60, 180], [120, 240]],
    (0, 1, -1, 0): [[180, 60], [240, 120]],
    (0, -1, 1, 0): [[120, 240], [60, 180]],
    (0, -1, -1, 0): [[240, 120], [180, 60]],
}


def quarters(picture: NDArray[np.uint8]) -> list[list[int]]:
    height, width = picture.shape[:2]
    grey = picture.mean(axis=2)
    rows, columns = (height // 4, 3 * height // 4), (width // 4, 3 * width // 4)
    return [[60 * round(grey[row, column] / 60) for column in columns] for row in rows]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    pixels = np.kron(QUARTERS, np.ones((24, 32), np.uint8))
    path = tmp_path_factory.mktemp("plain") / "a.mp4"
    shown = np.repeat(pixels[..., None], 3, axis=2)
    write_clip(path, seconds=1, fps=2, shows=lambda number: shown)
    return path.read_bytes()


@pytest.mark.parametrize("matrix", MATRICES)
def test_pictures_are_shown_as_the_matrix_asks(
    plain: bytes, tmp_path: Path, matrix: tuple[int, int, int, int]
) -> None:
    (tmp_path / "a.mp4").write_bytes(plain)
    path = write_matrix(tmp_path / "a.mp4", matrix)
    with Clip(path, None, None, video=True, audio=False) as clip:
        picture = clip.pictures([0])[0]
        mirrored = clip.mirrored
    assert quarters(picture) == MATRICES[matrix]
    assert picture.shape[:2] == ((48, 64) if matrix[0] else (64, 48))
    a, b, c, d = matrix
    assert mirrored == (a * d - b * c < 0)
