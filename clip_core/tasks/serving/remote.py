"""Images by URL, from hosts that the server's operator has listed.

A caller must not reach inside: the host's addresses are resolved once, all of them must be public, and the connection
goes to one of those that were checked. Redirects are not followed.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from clip_core.hub.printing import reason_of
from clip_core.tasks.serving.settings import RequestError

if TYPE_CHECKING:
    from clip_core.tasks.serving.settings import ServerSettings

_OK = 200
_SECONDS = 20.0  # for the whole image
_CHUNK = 1 << 16
# The only IPv6 addresses that are assigned to the public internet. Outside are those of a site, such as fec0::1, and
# those with an IPv4 address inside that a gateway may reach, such as 64:ff9b::7f00:1, ::7f00:1 and ::ffff:0:7f00:1.
_PUBLIC = ipaddress.IPv6Network("2000::/3")
# Those among them that are not: 6to4 and Teredo, which contain an IPv4 address, and documentation.
_NOT_PUBLIC = tuple(map(ipaddress.IPv6Network, ("2002::/16", "2001::/32", "3fff::/20")))


class _Connection(http.client.HTTPConnection):
    """A connection to an address that was checked, for a host.

    Args:
        host: the host of the URL.
        port: its port.
        address: one of its addresses.
        context: for https; None for http.
    """

    def __init__(self, host: str, port: int, address: str, context: ssl.SSLContext | None) -> None:
        super().__init__(host, port, timeout=_SECONDS)
        self._address = address
        self._context = context

    def connect(self) -> None:
        """Connect to the address, whatever the host's name resolves to by now."""
        plain = socket.create_connection((self._address, self.port), self.timeout)
        if self._context is None:
            self.sock = plain
            return
        try:
            self.sock = self._context.wrap_socket(plain, server_hostname=self.host)
        except BaseException:
            plain.close()
            raise


def read_url(url: str, place: str, settings: ServerSettings) -> bytes:
    """Return the file behind a URL.

    Args:
        url: an http(s) URL.
        place: its field in the request, for messages.
        settings: the hosts allowed, and the largest size.

    Raises:
        RequestError: the host is not allowed or not public, or the file cannot be downloaded or is too large.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        raise RequestError(400, f"{place} is not a URL: {error}", place) from error
    if host not in {allowed.lower() for allowed in settings.image_hosts}:
        raise RequestError(
            400, f"{place}: the host {host!r} is not among those allowed here", place, "host_not_allowed"
        )
    context = ssl.create_default_context() if parts.scheme == "https" else None
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection = _Connection(host, port, _public_address(host, port, place), context)
        try:
            return _downloaded(connection, path, place, settings.max_body)
        finally:
            connection.close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = reason_of(error) if isinstance(error, OSError) else str(error) or type(error).__name__
        raise RequestError(400, f"{place}: the image could not be downloaded from {host}: {reason}", place) from error


def _public_address(host: str, port: int, place: str) -> str:
    found = [str(address[0]) for *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    if not all(map(is_public, found)):
        raise RequestError(400, f"{place}: {host!r} is on a private network", place, "host_not_allowed")
    return found[0]


def is_public(address: str) -> bool:
    """Return True for an address of the public internet.

    Args:
        address: an IPv4 or IPv6 address.
    """
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return is_public(str(found.ipv4_mapped))
        if found not in _PUBLIC or any(found in network for network in _NOT_PUBLIC):
            return False
    return found.is_global and not found.is_multicast


def _downloaded(connection: _Connection, path: str, place: str, most: int) -> bytes:
    deadline = time.monotonic() + _SECONDS
    connection.request("GET", path, headers={"User-Agent": "clip-zoo", "Accept": "image/*"})
    content = bytearray()
    with connection.getresponse() as response:
        if response.status != _OK:
            raise RequestError(400, f"{place}: {connection.host} answered with status {response.status}", place)
        while chunk := response.read1(_CHUNK):
            content += chunk
            if len(content) > most:
                raise RequestError(400, f"{place}: the image has more than {most:,} bytes", place)
            if time.monotonic() > deadline:
                raise RequestError(400, f"{place}: {connection.host} took more than {_SECONDS:.0f} seconds", place)
    return bytes(content)
