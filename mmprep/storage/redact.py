"""Addresses without the passwords that they may carry, for messages and files."""

import re
from typing import Final

# Between the scheme and the last @ in front of the path, a name and a password may stand.
_CREDENTIALS: Final = re.compile(r"(?<=://)[^/?#\s@]*:?[^/?#\s]*@")


def redacted(text: str) -> str:
    """Returns ``text`` without the ``user:password@`` of its URLs.

    Example:
        >>> redacted("cannot read https://ann:secret@example.org/shards: timeout")
        'cannot read https://example.org/shards: timeout'
    """
    return _CREDENTIALS.sub("", text)
