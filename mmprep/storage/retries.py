"""Decides which refusals of a bucket may pass, and for how long a request is repeated.

obstore repeats a request by a rule of its own: it gives up after a number of tries, which at a dead
port are spent within seconds, and spends them on a wrong certificate too. Requests that can be
repeated as a whole are therefore made once by obstore and repeated here. It passes on the status
and the body of an answer, but no headers, so a server's ``Retry-After`` cannot be followed.
"""

import logging
import random
import re
import time
from typing import Final

from mmprep.errors import StoreError

log = logging.getLogger(__name__)

_BACKOFF_S: Final = 0.2
LONGEST_PAUSE_S: Final = 5.0
# Failures after which the wait is announced, about a second after the first.
_ANNOUNCED: Final = 4
# Credentials of the machine that are not there will not come, but their server may be busy.
_CREDENTIALS_S: Final = 10.0
_CREDENTIAL_SERVERS: Final = ("/latest/api/token", "/latest/meta-data", "computeMetadata")
# Statuses that ask to come again.
_LATER: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
# Pieces of the error text of connections that no repetition makes.
_FINAL: Final = (
    *("certificate", "InvalidCertificate", "UnknownIssuer"),
    *("InvalidContentType", "HandshakeFailure"),
    *("Name or service not known", "relative URL", "redirect without", "without LOCATION"),
    *("Range request not supported", "builder error", "botocore.exceptions"),
)


def patience_s(error: BaseException | None, retry_for_s: float) -> float:
    """Seconds for which a request that ended in ``error`` is worth repeating; 0 is not at all.

    Args:
        error: Error of obstore, or of the connection.
        retry_for_s: Seconds for a fault that may pass.
    """
    from obstore.exceptions import GenericError

    if not isinstance(error, (GenericError, TimeoutError, ConnectionError)):
        return 0.0
    text = str(error)
    if any(server in text for server in _CREDENTIAL_SERVERS):
        return min(_CREDENTIALS_S, retry_for_s)
    status = re.search(r"status code: (\d{3})", text)
    passes = int(status[1]) in _LATER if status else not any(sign in text for sign in _FINAL)
    return retry_for_s if passes else 0.0


class Patience:
    """Decides after each failure of one request how long to pause, or that it has failed.

    Args:
        retry_for_s: Seconds for which the request is repeated, counted from its start or its last
            progress.
        backoff_s: Pause before the second try; it doubles with every further one up to five
            seconds, and is shortened at random by up to a half so that not all come back at once.
        advice: Advice at the end of the message of a request that has failed.
    """

    def __init__(self, retry_for_s: float, backoff_s: float = _BACKOFF_S, advice: str = "") -> None:
        self._retry_for_s, self._backoff_s, self._advice = retry_for_s, backoff_s, advice
        self._started, self._failures = time.monotonic(), 0

    def progressed(self) -> None:
        """Starts the time anew, after some of the bytes have come."""
        self._started, self._failures = time.monotonic(), 0

    def pause_after(self, error: StoreError) -> float:
        """Seconds to wait before the next try.

        Raises:
            StoreError: No further try is worth it; ``error``, with the tries that were made.
        """
        patience = patience_s(error.__cause__, self._retry_for_s)
        if not patience:
            raise error
        self._failures += 1
        elapsed = time.monotonic() - self._started
        longest = min(self._backoff_s * 2.0 ** (min(self._failures, 30) - 1), LONGEST_PAUSE_S)
        pause: float = longest * random.uniform(0.5, 1)
        if elapsed + pause > patience:
            tries = "1 try" if self._failures == 1 else f"{self._failures} tries"
            message = f"{error}. Gave up after {tries} in {elapsed:.1f} s{self._advice}"
            raise StoreError(message) from error.__cause__
        if self._failures == _ANNOUNCED:
            log.warning("%s; trying again for %.0f s", error, patience - elapsed)
        return pause

    def wait(self, error: StoreError) -> None:
        """Pauses before the next try; raises as `pause_after` does."""
        time.sleep(self.pause_after(error))
