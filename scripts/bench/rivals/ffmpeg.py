"""FFmpeg's libraries of PyAV's wheel, under the names by which other programs look for them."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path


@contextmanager
def ffmpeg_of_pyav(folder: Path) -> Iterator[None]:
    """Lets processes that are started meanwhile find FFmpeg, where the system has none.

    Args:
        folder: Folder for links to the libraries, which the wheel keeps under names of its own.
    """
    spec = find_spec("av")
    libraries = Path(spec.origin or "").parents[1] / "av.libs" if spec else Path("av.libs")
    folder.mkdir(exist_ok=True)
    for path in libraries.glob("lib*.so.*"):
        if match := re.match(r"(lib(?:av|sw)\w+)-\w+(\.so\.\d+)", path.name):
            link = folder / (match[1] + match[2])
            link.unlink(missing_ok=True)
            link.symlink_to(path)
    before = os.environ.get("LD_LIBRARY_PATH")
    # The system's come first, so that an installed FFmpeg is preferred.
    paths = [*([before] if before else []), str(folder), str(libraries)]
    os.environ["LD_LIBRARY_PATH"] = ":".join(paths)
    try:
        yield
    finally:
        if before is None:
            del os.environ["LD_LIBRARY_PATH"]
        else:
            os.environ["LD_LIBRARY_PATH"] = before
