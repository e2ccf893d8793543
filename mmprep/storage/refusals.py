"""Messages for refusals of a disk or a bucket: one line, with a remedy where one is known."""

import errno
import re
import tempfile
from typing import Final

from mmprep.storage.redact import redacted

_PUBLIC: Final = "a public bucket needs none (--anonymous)"
_TLS: Final = (
    "the server's certificate is not trusted here: set SSL_CERT_FILE to that of its authority, or "
    "use an http:// endpoint"
)
_REGION: Final = "set AWS_REGION to the region of the bucket"
_CREDENTIALS: Final = f"check the credentials and what they may do; {_PUBLIC}"
# A piece of obstore's error text to the remedy.
_HINTS: Final = {
    # Addresses at which machines of a cloud find their credentials.
    "/latest/api/token": "there are no credentials here: set AWS_ACCESS_KEY_ID and "
    f"AWS_SECRET_ACCESS_KEY; {_PUBLIC}",
    "computeMetadata": "there are no credentials here: set GOOGLE_APPLICATION_CREDENTIALS; "
    f"{_PUBLIC}",
    "External AWS credential provider": "check AWS_PROFILE and ~/.aws, or run `aws sso login`",
    "ExpiredToken": "the credentials have expired: get new ones, AWS_SESSION_TOKEN too",
    "TokenRefreshRequired": "the credentials have expired: get new ones",
    "RequestTimeTooSkewed": "the clock of this machine is wrong; set it",
    "InvalidAccessKeyId": "AWS_ACCESS_KEY_ID is none of this server",
    "SignatureDoesNotMatch": "AWS_SECRET_ACCESS_KEY does not belong to AWS_ACCESS_KEY_ID",
    "PermanentRedirect": _REGION,
    "AuthorizationHeaderMalformed": _REGION,
    "IllegalLocationConstraint": _REGION,
    "301 Moved Permanently": _REGION,
    "without LOCATION": _REGION,
    "redirect without": _REGION,
    "NoSuchBucket": "there is no such bucket; check its name and the endpoint",
    "InvalidContentType": "there is no TLS at this address: use http://",
    "dns error": "there is no server of that name; check the endpoint",
    "CaUsedAsEndEntity": "the server shows the certificate of an authority as its own, as `openssl "
    "req -x509` makes it by default: give it one with -addext basicConstraints=critical,CA:FALSE "
    "and set SSL_CERT_FILE to that, or use an http:// endpoint",
    "NotValidForName": "the server's certificate is for another name; use a name that it lists",
    "ExpiredContext": "the server's certificate has expired, or this machine's clock is wrong",
    "NotValidYet": "the server's certificate is not valid yet, or this machine's clock is wrong",
    "certificate": _TLS,
    "InvalidCertificate": _TLS,
    "UnknownIssuer": _TLS,
    "400 Bad Request": f"check endpoint and credentials, and {_REGION}",
    "MissingAccount": "set AZURE_STORAGE_ACCOUNT_NAME",
    "Range request not supported": "choose a server that answers range requests",
}


def disk_refusal(error: OSError) -> str:
    """Reason why the system refused a file, with a remedy where one is known."""
    hints = {
        errno.ENOSPC: "the disk is full; free some space and run the same command again",
        errno.EDQUOT: "the quota is used up; free some space and run the same command again",
        errno.EFBIG: "a file may not be so large here (ulimit -f); raise the limit and run the "
        "same command again",
        errno.EROFS: "the file system is read-only; choose another place",
        errno.EACCES: "permission denied; choose another place or change its permissions",
    }
    return hints.get(error.errno or 0, error.strerror or str(error))


def bucket_refusal(error: Exception) -> str:
    """First line of obstore's long error text, with the server's error code and a remedy."""
    from obstore.exceptions import PermissionDeniedError, UnauthenticatedError

    if isinstance(error, OSError) and error.errno:
        spool = tempfile.gettempdir()
        return f"{disk_refusal(error)} (files for a bucket are made in {spool} first)"
    text = redacted(str(error).strip() or repr(error))
    first = text.splitlines()[0].partition("<?xml")[0].rstrip(": ")
    code = re.search(r"<Code>(\w+)</Code>", text)
    reason = f"{first} ({code[1]})" if code else first
    for sign, hint in _HINTS.items():
        if sign in text:
            return f"{reason}; {hint}"
    if isinstance(error, (PermissionDeniedError, UnauthenticatedError)):
        return f"{reason}; {_CREDENTIALS}"
    return reason
