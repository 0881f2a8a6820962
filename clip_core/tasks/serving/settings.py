"""Limits of the server, and the error that every refused request raises."""

from __future__ import annotations

import ipaddress
import math
import re
from dataclasses import dataclass, fields
from typing import Any

from clip_core.configuration.arguments import check_integers, check_texts

# Errors of these codes are the caller's fault; OpenAI's clients retry all others.
_OF_THE_CALLER = range(400, 500)
_NAME = re.compile(r"[\w-]+(?:\.[\w-]+)*\.?")  # of a host


@dataclass(frozen=True)
class ServerSettings:
    """Limits of a server. Requests beyond them are refused, with a status and one sentence.

    Attributes:
        model_name: the name that requests give in "model", and that `/v1/models` lists.
        api_key: the key that callers send as `Authorization: Bearer ...`; None for no key.
        batch_size: images of different requests that the model encodes together; 8 times as many texts.
        max_wait: milliseconds without a new input after which an idle model waits no longer for the callers of its last
            batch.
        max_queue: inputs in progress; requests beyond them get status 429.
        max_inputs: texts, labels and images in one request, and hits of a search.
        max_explanations: texts in one request to explain; each takes about as long as a few images.
        max_body: bytes of a request's body. Bodies in progress take at most 8 times as much.
        max_pixels: pixels of an image, checked before it is decoded.
        timeout: seconds for a request, from its first byte; then it gets status 504.
        image_hosts: hosts whose images may be given by http(s) URL; empty to refuse all URLs. Private addresses are
            refused in any case.
        hosts: names in the `Host` header of requests that are answered; empty for all. A web page whose name is made
            to resolve to this machine sends its own name.
        show_paths: give the whole paths of images that a search finds; otherwise only the names of their files.
    """

    model_name: str = "clip"
    api_key: str | None = None
    batch_size: int = 32
    max_wait: float = 3.0
    max_queue: int = 4096
    max_inputs: int = 2048
    max_explanations: int = 8
    max_body: int = 32 << 20
    max_pixels: int = 50_000_000
    timeout: float = 60.0
    image_hosts: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    show_paths: bool = False

    def __post_init__(self) -> None:
        """Check the limits."""
        check_integers(
            batch_size=(self.batch_size, 1),
            max_queue=(self.max_queue, 1),
            max_inputs=(self.max_inputs, 1),
            max_explanations=(self.max_explanations, 1),
            max_body=(self.max_body, 1),
            max_pixels=(self.max_pixels, 1),
        )
        if self.max_inputs > self.max_queue:
            raise ValueError(
                f"max_inputs={self.max_inputs} is more than max_queue={self.max_queue}: such a request would always "
                "be refused; raise max_queue or lower max_inputs"
            )
        check_texts(image_hosts=self.image_hosts, hosts=self.hosts)
        for host in self.image_hosts:
            if not _is_host(host):
                raise ValueError(f"image_hosts={host!r} is not a host; give a name such as images.example.com")
        for name, least in (("max_wait", "of 0 or more"), ("timeout", "above 0")):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value < math.inf:
                raise ValueError(f"{name}={value!r}: give a number {least}")
        if self.timeout == 0:
            raise ValueError("timeout=0: no request could be answered; give a number above 0")
        if self.api_key is not None and not self.api_key.isascii():
            raise ValueError("api_key has characters outside ASCII, which HTTP headers cannot carry")

    def __repr__(self) -> str:
        """Return the settings without the key."""
        shown = {one.name: getattr(self, one.name) for one in fields(self)}
        if self.api_key is not None:
            shown["api_key"] = "***"
        return f"ServerSettings({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


def _is_host(text: str) -> bool:
    """Return True for the host of a URL alone: a name or an address, without a scheme, a port or a path."""
    if _NAME.fullmatch(text):
        return True
    try:
        return bool(ipaddress.ip_address(text))
    except ValueError:
        return False


class RequestError(Exception):
    """A request that cannot be answered.

    Args:
        status: the HTTP status.
        message: one sentence: expected, found, what to do.
        param: the field of the request at fault; None if it is none.
        code: a short name that programs can test.
    """

    def __init__(self, status: int, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code

    def body(self) -> dict[str, Any]:
        """Return the body of the answer, in the form of OpenAI's errors."""
        kind = "invalid_request_error" if self.status in _OF_THE_CALLER else "server_error"
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}
