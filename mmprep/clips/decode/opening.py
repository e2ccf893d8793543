"""Opens media files, and refuses playlists, which lead to other files."""

from contextlib import ExitStack
from io import FileIO
from pathlib import Path
from typing import Final

import av
from av.container import InputContainer

from mmprep.failure import ClipError

# Formats of FFmpeg whose content stands in other files or comes from a network or a device.
_PLAYLISTS: Final = {
    *("hls", "applehttp", "concat", "concatf", "sdp", "dash", "rtsp", "rtp", "sap", "imf"),
    *("image2", "webm_dash_manifest", "lavfi", "ffmetadata", "vapoursynth"),
}


def open_container(path: Path, name: str, resources: ExitStack) -> InputContainer:
    """Opens the file at ``path`` until ``resources`` are closed.

    Args:
        path: Path of the file.
        name: Original name of the file; FFmpeg tells some formats apart by its suffix.
        resources: Stack that closes the file.

    Raises:
        ClipError: The cause is `not-media` or `playlist`.
    """
    file: str | FileIO = str(path)
    if Path(name).suffix != path.suffix:
        file = resources.enter_context(FileIO(path))
        file.name = name
    elif "://" in str(path) or ":" in path.parts[0]:
        file = str(path.absolute())
    try:
        container: InputContainer = av.open(
            file,
            "r",
            metadata_errors="replace",
            # Nothing that a file names is fetched from a network.
            options={"protocol_whitelist": "file"},
        )
    except av.FFmpegError as error:
        message = f"no known container ({error.strerror})"
        raise ClipError("open", "not-media", message) from error
    resources.callback(container.close)
    formats = container.format.name.split(",")
    if _PLAYLISTS & set(formats) or formats[0].endswith("_pipe"):
        raise ClipError(
            "open", "playlist", f"a list of other files or single pictures ({formats[0]}), no clip"
        )
    return container
