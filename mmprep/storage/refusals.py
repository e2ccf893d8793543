"""What a disk or a bucket says when it refuses: one line, with what there is to do."""

import errno
import re
import tempfile
from typing import Final

_PUBLIC: Final = "a public bucket needs none (--anonymous of mmtrain)"
_CREDENTIALS: Final = f"check the credentials and what they may do; {_PUBLIC}"
# What obstore's text holds to what there is to do.
_HINTS: Final = {
    # Where a machine of a cloud would find its credentials.
    "/latest/api/token": "there are no credentials here: set AWS_ACCESS_KEY_ID and "
    f"AWS_SECRET_ACCESS_KEY; {_PUBLIC}",
    "computeMetadata": "there are no credentials here: set GOOGLE_APPLICATION_CREDENTIALS; "
    f"{_PUBLIC}",
    "MissingAccount": "set AZURE_STORAGE_ACCOUNT_NAME",
    "Range request not supported": "choose a server that answers range requests",
}


def disk_refusal(error: OSError) -> str:
    """What the system says of a file, and what there is to do."""
    hints = {
        errno.ENOSPC: "the disk is full; free some space and run the same command again",
        errno.EDQUOT: "the quota is used up; free some space and run the same command again",
        errno.EROFS: "the file system is read-only; choose another place",
        errno.EACCES: "permission denied; choose another place or change its permissions",
    }
    return hints.get(error.errno or 0, error.strerror or str(error))


def bucket_refusal(error: Exception) -> str:
    """The first line of obstore's page of text, with the server's code in place of its XML."""
    from obstore.exceptions import PermissionDeniedError, UnauthenticatedError

    if isinstance(error, OSError) and error.errno:
        spool = tempfile.gettempdir()
        return f"{disk_refusal(error)} (files for a bucket are made in {spool} first)"
    text = str(error).strip() or repr(error)
    first = text.splitlines()[0].partition("<?xml")[0].rstrip(": ")
    code = re.search(r"<Code>(\w+)</Code>", text)
    told = f"{first} ({code[1]})" if code else first
    for sign, hint in _HINTS.items():
        if sign in text:
            return f"{told}; {hint}"
    if isinstance(error, (PermissionDeniedError, UnauthenticatedError)):
        return f"{told}; {_CREDENTIALS}"
    return told
