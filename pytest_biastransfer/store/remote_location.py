"""Locations of remote stores: URLs that fsspec understands, checked without connecting to anything."""

from __future__ import annotations

import importlib
import importlib.util
import re
from typing import Final

from pytest_biastransfer.errors import SpecError, nearest
from pytest_biastransfer.optional_dependencies import need

_PROTOCOL: Final = re.compile(r"([A-Za-z0-9_+.:-]+)://")
# Credentials before the host, such as those of sftp://user:password@host, and a query, which may have a token.
_CREDENTIALS: Final = re.compile(r"(?<=://)[^/@]*@|[?#].*")
_PASSWORD: Final = re.compile(r"://[^/@]*:[^/@]*@")


def is_url(location: str) -> bool:
    """Whether a location is a URL and not a path.

    >>> is_url("s3://bucket/store"), is_url("store/s3")
    (True, False)
    """
    return "://" in location


def without_credentials(url: str) -> str:
    """Return a URL as it may be shown and hashed.

    >>> without_credentials("sftp://me:secret@host/store?token=1")
    'sftp://host/store'
    """
    return _CREDENTIALS.sub("", url)


def require_usable(url: str, origin: str) -> None:
    """Raise `SpecError` unless fsspec, and the library that it needs for the protocol, are installed.

    `origin` begins the message.
    """
    match, origin = _PROTOCOL.match(url), f"{origin}: {without_credentials(url)}"
    if _PASSWORD.search(url):
        # Commands that are printed to be typed again would show it.
        raise SpecError(
            f"{origin}: has a password in the URL; fsspec takes it from the environment or its configuration files, "
            f"such as FSSPEC_SFTP_PASSWORD"
        )
    need("fsspec", "remote", origin)
    from fsspec.registry import get_filesystem_class, known_implementations, registry

    protocols = {*known_implementations, *registry}
    protocol = match[1] if match else url.partition("://")[0]
    if protocol not in protocols:
        raise SpecError(f"{origin}: unknown protocol {protocol!r}; {nearest(protocol, protocols)}")
    if protocol in registry:
        return
    module = known_implementations[protocol]["class"].rpartition(".")[0]
    library = module.partition(".")[0]
    if importlib.util.find_spec(library) is None:
        raise SpecError(f"{origin}: needs {library}, which is not installed; type: pip install {library}")
    # Libraries of object stores take a second to import, and are imported where something is missing. Those that
    # fsspec's own modules need are named by fsspec.
    if library == "fsspec":
        try:
            get_filesystem_class(protocol)
        except ImportError as error:
            raise SpecError(f"{origin}: {error}") from error
