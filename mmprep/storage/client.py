"""Makes obstore's clients from an address, the way to it, and the environment."""

import os
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from mmprep.errors import ConfigError
from mmprep.storage.access import Access
from mmprep.storage.credentials import Profile, aws_profile
from mmprep.storage.redact import redacted
from mmprep.storage.refusals import bucket_refusal

if TYPE_CHECKING:
    from obstore.store import (
        AzureConfig,
        BackoffConfig,
        ClientConfig,
        GCSConfig,
        ObjectStore,
        RetryConfig,
        S3Config,
    )

WEB: Final = ("http", "https")
SCHEMES: Final = ("s3", "gs", "az", *WEB)
# Variables that allow a server without TLS.
_ALLOW_HTTP: Final = ("AWS_ALLOW_HTTP", "AZURE_ALLOW_HTTP", "GOOGLE_ALLOW_HTTP")
_ENDPOINTS: Final = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
# More tries than any time limit allows, since time alone is to decide.
_MANY: Final = 100_000


class Clients:
    """Makes clients for one place.

    Args:
        url: Address such as ``s3://bucket/prefix``.
        access: Server, credentials and patience.

    Attributes:
        endpoint: Address of the server; None is the provider's.

    Raises:
        ConfigError: The credentials of ~/.aws cannot be read.
    """

    def __init__(self, url: str, access: Access) -> None:
        self._url, self._access = url, access
        self._scheme = url.partition("://")[0]
        self._profile: Profile | None = None
        endpoint = access.endpoint
        if self._scheme == "s3":
            if not access.anonymous:
                self._profile = aws_profile()
            endpoint = endpoint or _environment(*_ENDPOINTS)
            if self._profile is not None:
                endpoint = endpoint or self._profile.endpoint
        self.endpoint = with_scheme(endpoint)

    def once(self, timeout: str | None = "30s") -> "ObjectStore":
        """Client that makes every request once; whoever uses it repeats them.

        Args:
            timeout: Time limit of a request, to its last byte; None is none.
        """
        return self._made({"max_retries": 0}, timeout or "1day")

    def lasting(self) -> "ObjectStore":
        """Client that repeats requests itself, for those that cannot be repeated as a whole."""
        backoff: BackoffConfig = {"max_backoff": timedelta(seconds=5)}
        limit = timedelta(seconds=self._access.retry_for_s)
        tries = _MANY if limit else 0
        return self._made({"max_retries": tries, "retry_timeout": limit, "backoff": backoff}, "30s")

    def _made(self, retry: "RetryConfig", timeout: str) -> "ObjectStore":
        from obstore.exceptions import BaseError
        from obstore.store import AzureStore, GCSStore, HTTPStore, S3Store

        # obstore takes most settings that are absent here from the environment, for example
        # AZURE_STORAGE_ENDPOINT, but not those of its client.
        client: ClientConfig = {"timeout": timeout}
        plain = self._url.startswith("http://") or (self.endpoint or "").startswith("http://")
        if plain or (_environment(*_ALLOW_HTTP) or "").lower() in ("1", "true", "yes"):
            client["allow_http"] = True
        s3: S3Config = {"region": self._region()}
        gs: GCSConfig = {}
        az: AzureConfig = {}
        if self._access.anonymous:
            s3["skip_signature"] = gs["skip_signature"] = az["skip_signature"] = True
        if self.endpoint:
            s3["endpoint"] = gs["base_url"] = az["endpoint"] = self.endpoint
        url = self._url
        try:
            if self._scheme in WEB:
                return HTTPStore.from_url(url, client_options=client, retry_config=retry)
            if self._scheme == "gs":
                return GCSStore.from_url(url, config=gs, client_options=client, retry_config=retry)
            if self._scheme == "az":
                return AzureStore.from_url(
                    url, config=az, client_options=client, retry_config=retry
                )
            return S3Store.from_url(
                url,
                config=s3,
                client_options=client,
                retry_config=retry,
                credential_provider=self._profile.provider if self._profile else None,
            )
        except (BaseError, ValueError) as error:
            raise ConfigError(f"{redacted(url)}: {bucket_refusal(error)}") from error

    def _region(self) -> str:
        own = self._profile.region if self._profile else None
        return _environment("AWS_REGION", "AWS_DEFAULT_REGION") or own or "us-east-1"


def with_scheme(endpoint: str | None) -> str | None:
    """Address of a server with its scheme: ``http`` for this machine, ``https`` for any other.

    Example:
        >>> with_scheme("127.0.0.1:9000"), with_scheme("storage.example.org")
        ('http://127.0.0.1:9000', 'https://storage.example.org')
    """
    if not endpoint or "://" in endpoint:
        return endpoint
    host = endpoint.rpartition("@")[2].partition("/")[0]
    local = host.startswith(("127.", "localhost", "[::1]"))
    return f"{'http' if local else 'https'}://{endpoint}"


def _environment(*names: str) -> str | None:
    return next((value for name in names if (value := os.environ.get(name))), None)
