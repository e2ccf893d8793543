"""Credentials of ~/.aws (profiles, SSO, roles), which boto3 reads and obstore alone does not.

Google's application default credentials and Azure's variables are read by obstore itself.
"""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mmprep.errors import ConfigError

if TYPE_CHECKING:
    from obstore.auth.boto3 import Boto3CredentialProvider

# Variables with credentials, or places of credentials, that obstore reads.
_OWN: Final = (
    *("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE"),
    *("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
)


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Profile of ~/.aws.

    Attributes:
        provider: Function that obstore asks for credentials, again when they expire.
        region: Region of the profile; None if it names none.
        endpoint: Address of the server of the profile; None if it names none.
    """

    provider: "Boto3CredentialProvider"
    region: str | None
    endpoint: str | None


def aws_profile(environment: Mapping[str, str] = os.environ) -> Profile | None:
    """Profile that ``AWS_PROFILE`` names, or the default one; None if obstore has the credentials.

    Keys in the environment come first, as in Amazon's own tools.

    Args:
        environment: Variables of the process.

    Raises:
        ConfigError: The profile is unknown, or boto3, which reads it, is not installed.
    """
    name = environment.get("AWS_PROFILE")
    keys = any(environment.get(variable) for variable in _OWN)
    credentials, config = _files(environment)
    if environment.get("AWS_ACCESS_KEY_ID") or (keys and not name):
        return None
    if not name and not credentials.is_file() and not config.is_file():
        return None
    if find_spec("boto3") is None:
        # A file `config` alone often has no more than a region.
        if not name and not credentials.is_file():
            return None
        place = f"the profile {name}" if name else str(credentials)
        raise ConfigError(
            f"the credentials of {place} are read by boto3: pip install 'mmprep[aws]', or set "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    return _read_profile()


def _files(environment: Mapping[str, str]) -> tuple[Path, Path]:
    """Paths of the files of credentials and of profiles."""
    home = Path.home() / ".aws"
    return (
        Path(environment.get("AWS_SHARED_CREDENTIALS_FILE") or home / "credentials").expanduser(),
        Path(environment.get("AWS_CONFIG_FILE") or home / "config").expanduser(),
    )


def _read_profile() -> Profile | None:
    import boto3
    import botocore.exceptions
    import botocore.session
    from obstore.auth.boto3 import Boto3CredentialProvider

    # It would announce the file of every client that is made.
    logging.getLogger("botocore.credentials").setLevel(logging.WARNING)
    try:
        core = botocore.session.get_session()
        session = boto3.Session(botocore_session=core)
        if session.get_credentials() is None:
            return None
        return Profile(
            provider=Boto3CredentialProvider(session),
            region=session.region_name,
            endpoint=core.get_scoped_config().get("endpoint_url"),
        )
    except botocore.exceptions.BotoCoreError as error:
        raise ConfigError(f"~/.aws: {error}; check AWS_PROFILE and the files there") from error
