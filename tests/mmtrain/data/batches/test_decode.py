import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mmtrain.data import View
from mmtrain.data.batches.array import array_header
from mmtrain.data.batches.buffer import BatchBuffer
from mmtrain.data.batches.decode import ColourDecoder, PlanesDecoder, SpectrogramDecoder
from mmtrain.data.batches.jpeg import decode_jpeg, jpeg_head
from mmtrain.errors import ConfigError, DataError, UnknownName
from tests.support.streammaker import array_bytes, encode_jpeg, motion, picture

STILL = View(frames=3, size=32, crop="random-crop", random=False)


def data(content: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(content, np.uint8)


def decode_whole(content: bytes, space: str = "RGB") -> NDArray[np.uint8]:
    head = jpeg_head(data(content))
    return decode_jpeg(data(content), space, head, head.height).copy()


def draws(view: View, position: int = 0) -> NDArray[np.float64]:
    return view.draws(7, 1, position, position + 1)[0]


def test_centres_of_three_segments_of_ten_frames_by_hand():
    # Edges at 10 i / 3, rounded: 0 3 7 10. Segments 0-2, 3-6 and 7-9; their middles are 1, 5 and 8.
    assert STILL.choose_frames(10, draws(STILL)) == [1, 5, 8]


def test_chosen_frames_by_hand():
    # One of four is the third, for the middle of 0-3 lies between the second and the third.
    assert View(frames=1, random=False).choose_frames(4, draws(STILL)) == [2]
    # Two frames for three segments: edges at 2 i / 3, rounded: 0 1 1 2. The second segment is empty
    # and takes the frame at its edge.
    assert STILL.choose_frames(2, draws(STILL)) == [0, 1, 1]
    assert STILL.choose_frames(1, draws(STILL)) == [0, 0, 0]
    assert View(frames=10, random=False).choose_frames(10, draws(View(frames=10))) == list(
        range(10)
    )


def test_random_frames_stay_in_their_segments_and_reach_all_of_them():
    view = View(frames=3)
    picks = np.array([view.choose_frames(10, row) for row in view.draws(0, 0, 0, 400)])

    assert [sorted(set(column)) for column in picks.T.tolist()] == [
        [0, 1, 2],
        [3, 4, 5, 6],
        [7, 8, 9],
    ]


def test_no_frames_are_damage():
    with pytest.raises(DataError, match="no frames"):
        STILL.choose_frames(0, draws(STILL))


def test_draws_of_a_visit_do_not_depend_on_where_one_begins():
    view = View(frames=5)
    together = view.draws(3, 2, 0, 50)

    assert np.array_equal(view.draws(3, 2, 17, 31), together[17:31])
    assert not np.array_equal(view.draws(3, 3, 0, 50), together)
    assert not np.array_equal(view.draws(4, 2, 0, 50), together)
    assert len(np.unique(together)) == np.size(together)


def test_random_crop_is_a_slice_of_the_picture():
    whole = decode_whole(encode_jpeg(picture(0, 0)))
    view = View(frames=1, size=32, crop="random-crop")
    colour, rows = ColourDecoder("frames", view, checked=True), np.zeros((1, 32, 32, 3), np.uint8)
    seen = set()
    for position in range(40):
        row = draws(view, position)
        colour.decode(data(encode_jpeg(picture(0, 0))), row, rows, 0)
        window = view.window(row, 40, 56)
        expected = whole[window.top : window.top + 32, window.left : window.left + 32]
        flip = view.flips(row)
        assert np.array_equal(rows[0], expected[:, ::-1] if flip else expected)
        seen.add((window.top, window.left, flip))
    assert len(seen) > 30


@pytest.mark.parametrize("sampling", ["4:2:0", "4:4:4"])
@pytest.mark.parametrize("progressive", [False, True])
def test_rows_that_are_not_shown_change_nothing(sampling: str, progressive: bool) -> None:
    random = np.random.default_rng(0)
    buffer = io.BytesIO()
    noise = Image.fromarray(random.integers(0, 255, (70, 90, 3)).astype(np.uint8))
    noise.save(buffer, "JPEG", quality=90, subsampling=sampling, progressive=progressive)
    content = data(buffer.getvalue())
    head = jpeg_head(content)
    whole = decode_jpeg(content, "RGB", head, 70).copy()

    assert (head.height, head.width, head.sequential) == (70, 90, not progressive)
    for rows in range(1, 71):
        picture_rows = decode_jpeg(content, "RGB", head, rows)
        assert np.array_equal(picture_rows[:rows], whole[:rows])


def test_centre_crop_and_resize():
    rows = np.zeros((3, 32, 32, 3), np.uint8)
    whole = decode_whole(encode_jpeg(picture(1, 2)))

    ColourDecoder("frames", STILL, checked=True).decode(
        data(encode_jpeg(picture(1, 2))), draws(STILL), rows, 1
    )
    assert np.array_equal(rows[1], whole[4:36, 12:44])

    view = View(size=32, crop="random-resized-crop").evaluation()
    ColourDecoder("frames", view, checked=True).decode(
        data(encode_jpeg(picture(1, 2))), draws(view), rows, 2
    )
    bilinear = np.asarray(Image.fromarray(whole).resize((32, 32), Image.Resampling.BILINEAR))
    assert np.abs(rows[2].astype(int) - bilinear).max() <= 6


def test_random_resized_crop_stays_inside_and_covers_the_areas_and_ratios():
    view = View(size=8)
    windows = [view.window(row, 256, 340) for row in view.draws(0, 0, 0, 500)]
    areas = np.array([w.height * w.width for w in windows]) / (256 * 340)
    ratios = np.array([w.width / w.height for w in windows])

    assert all(w.top >= 0 and w.bottom <= 256 and w.left >= 0 for w in windows)
    assert all(w.left + w.width <= 340 for w in windows)
    assert 0.079 < areas.min() < 0.12
    assert areas.max() > 0.9
    assert 0.74 < ratios.min() < 0.8
    assert 1.25 < ratios.max() < 1.34


def test_random_resized_crop_of_a_strip_by_hand():
    # 10 x 1000: even the smallest area, 800, is 24 high at the widest ratio. Nothing fits, so the
    # whole height is taken, and 4/3 of it in width.
    window = View(size=8).window(draws(View(size=8)), 10, 1000)

    assert (window.height, window.width) == (10, 13)


def test_a_small_picture_does_not_fit_a_random_crop():
    with pytest.raises(ConfigError, match="224 pixels does not fit pictures of 56 x 40"):
        View(crop="random-crop").window(draws(STILL), 40, 56)


def test_unknown_crops_are_refused():
    with pytest.raises(UnknownName, match="did you mean random-crop"):
        View(crop="randomcrop")
    with pytest.raises(ConfigError, match="at least 1"):
        View(frames=0)


def test_a_mirrored_clip_moves_the_other_way():
    # u is 200 in the left half and 150 in the right; v is 90. Mirrored, the halves change places
    # and motion to the right by 72 (or 22) becomes motion to the left: 128 - 72 = 56 (or 106).
    view = View(frames=1, size=40, crop="random-crop")
    flip, keep = (
        next(row for row in view.draws(0, 0, 0, 50) if view.flips(row) is wanted)
        for wanted in (True, False)
    )
    flow = PlanesDecoder("flow", view, 4, motion=True, checked=True)
    rows = np.zeros(flow.shape, np.uint8)

    flow.decode(data(encode_jpeg(motion(0, 0))), keep, rows, 0)
    assert np.abs(rows[0, ::2, :, 0].astype(int) - 200).max() <= 4
    assert np.abs(rows[0, ::2, :, -1].astype(int) - 150).max() <= 4
    flow.decode(data(encode_jpeg(motion(0, 0))), flip, rows, 0)
    assert np.abs(rows[0, ::2, :, 0].astype(int) - 106).max() <= 4
    assert np.abs(rows[0, ::2, :, -1].astype(int) - 56).max() <= 4
    assert np.abs(rows[0, 1::2].astype(int) - 90).max() <= 4


def test_planes_that_do_not_divide_the_height_are_damage():
    flow = PlanesDecoder("flow", STILL, 6, motion=True, checked=True)
    with pytest.raises(DataError, match="160 pixels high"):
        flow.decode(
            data(encode_jpeg(motion(0, 0))), draws(STILL), np.zeros(flow.shape, np.uint8), 0
        )


def test_sound_is_copied_and_its_shape_checked():
    values = np.arange(12, dtype=np.float16).reshape(3, 4)
    row = np.zeros((3, 4), np.float16)
    SpectrogramDecoder("spectrogram", (3, 4)).decode(
        data(array_bytes(values)), draws(STILL), row, 0
    )
    assert np.array_equal(row, values)

    with pytest.raises(DataError, match=r"shape \(3, 4\) where the others have \(3, 5\)"):
        SpectrogramDecoder("spectrogram", (3, 5)).decode(
            data(array_bytes(values)), draws(STILL), row, 0
        )
    with pytest.raises(DataError, match="bytes"):
        SpectrogramDecoder("spectrogram", (3, 4)).decode(
            data(array_bytes(values)[:-2]), draws(STILL), row, 0
        )


@pytest.mark.parametrize("shape", [(3, 4), (16, 20), (24, 80), (64, 64), (90, 100)])
@pytest.mark.parametrize("dtype", ["<f2", ">f2", "<i2", "|i1", "<f4", "<f8"])
def test_sound_of_any_size_and_type_comes_whole_into_its_row(
    shape: tuple[int, int], dtype: str
) -> None:
    values = (np.arange(np.prod(shape)) % 100).astype(dtype).reshape(shape)
    content, row = data(array_bytes(values)), np.zeros(shape, np.float16)
    sound = SpectrogramDecoder("spectrogram", shape)
    # As a stream reads from disk.
    destination = sound.destination(row, len(content))
    if destination is not None:
        destination[:] = content[-len(destination) :]
        content = content[: -len(destination)]
    sound.decode(content, draws(STILL), row, 0)
    assert np.array_equal(row, values)


def test_only_a_member_of_the_rows_own_bytes_may_be_read_into_it() -> None:
    row, sound = np.zeros((50, 100), np.float16), SpectrogramDecoder("spectrogram", (50, 100))
    assert sound.destination(row, 128 + 10_000) is not None
    assert sound.destination(row, 10_000) is None
    assert sound.destination(row, 128 + 20_000) is None  # of single precision
    assert ColourDecoder("frames", STILL, checked=True).destination(row, 10_128) is None


def test_sound_of_complex_numbers_is_damage() -> None:
    content = data(array_bytes(np.ones((3, 4), np.complex64)))
    with pytest.raises(DataError, match="holds complex64"):
        SpectrogramDecoder("spectrogram", (3, 4)).decode(
            content, draws(STILL), np.zeros((3, 4), np.float16), 0
        )


def test_arrays_of_objects_are_never_unpickled():
    content = array_bytes(np.array([{}, {}], object), allow_pickle=True)
    with pytest.raises(DataError, match="objects; refused"):
        array_header(data(content))


@pytest.mark.parametrize("content", [b"", b"RIFF", b"\xff\xd8\xff", b"\xff\xd8" + 20 * b"\xff"])
def test_what_is_no_jpeg_is_damage(content: bytes) -> None:
    with pytest.raises(DataError, match="is no JPEG"):
        jpeg_head(data(content))


@pytest.mark.parametrize("size", [None, 128])
def test_a_header_alone_is_no_spectrogram(size):
    header = array_bytes(np.zeros((3, 4), np.float16))[:128]
    assert array_header(data(header))[0] == len(header)
    sound = SpectrogramDecoder("spectrogram", (3, 4))
    buffer = BatchBuffer({"audio": sound}, [draws(STILL)], np.zeros(1, bool), {})

    with pytest.raises(DataError, match=r"not the bytes that its shape \(3, 4\) takes"):
        buffer.decode(0, "spectrogram", 0, data(header), size)
    # What a reader has put into the row already.
    buffer.decode(0, "spectrogram", 0, data(header), len(header) + 24)
