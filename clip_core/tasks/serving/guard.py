"""The checks around every route: who calls, how large the body is, how long the answer takes, and errors as JSON."""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse

from clip_core.hub.printing import shortened
from clip_core.tasks.serving.inputs import fields_of
from clip_core.tasks.serving.settings import RequestError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from starlette.requests import Request
    from starlette.responses import Response

    from clip_core.tasks.serving.metrics import Metrics
    from clip_core.tasks.serving.settings import ServerSettings

_log = logging.getLogger("uvicorn.error")
_PORT = re.compile(r":\d*$", re.ASCII)  # of a Host header; browsers leave out the usual one

_GONE = 499  # nginx's status for a caller that has gone; HTTP has none
_BODIES = 8  # in memory, each of the largest size
_SMALL = 1 << 16  # bytes; a smaller body takes less time to parse than to hand to a thread


class Guard:
    """The checks of a server.

    Args:
        settings: the limits.
        metrics: counts the answers.
    """

    def __init__(self, settings: ServerSettings, metrics: Metrics) -> None:
        self.settings = settings
        self.metrics = metrics
        self._bytes_in_memory = 0

    def route(
        self, name: str, handler: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """Return a handler that checks the caller, keeps to the time limit and counts its answers.

        Args:
            name: the route's name in the metrics.
            handler: the handler.
        """

        async def checked(request: Request) -> Response:
            start = time.perf_counter()
            try:
                self._check_caller(request)
                async with asyncio.timeout(self.settings.timeout):
                    response = await handler(request)
            except RequestError as error:
                response = await request_error(request, error)
            except TimeoutError:
                message = f"the request took more than {self.settings.timeout:g} seconds; send fewer inputs"
                response = await request_error(request, RequestError(504, message, code="timeout"))
            except ClientDisconnect:  # while it sent the body; nobody reads this answer
                response = await request_error(request, RequestError(_GONE, "the caller has closed the connection"))
            except MemoryError:
                message = "there is not enough memory for this request; send fewer inputs"
                response = await request_error(request, RequestError(503, message, code="out_of_memory"))
            except Exception:  # noqa: BLE001  the log has it, and the caller an answer
                _log.exception("%s failed", request.url.path)
                response = await request_error(request, RequestError(500, "the server failed; its log says why"))
            self.metrics.requests(name, response.status_code).inc()
            self.metrics.seconds(name).observe(time.perf_counter() - start)
            return response

        return checked

    async def fields(self, request: Request) -> dict[str, Any]:
        """Return the fields of a JSON body within the limits.

        Args:
            request: the request.

        Raises:
            RequestError: the body is too large, or not a JSON object.
        """
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":  # a page of another site cannot send this without being asked for permission
            raise RequestError(415, f"the Content-Type is {kind or 'missing'}; send application/json")
        with self._room(request) as most:
            content = bytearray()
            async for chunk in request.stream():
                content += chunk
                if len(content) > most:
                    raise self._too_large()
            if len(content) <= _SMALL:
                return fields_of(bytes(content))
            return await asyncio.get_running_loop().run_in_executor(None, fields_of, bytes(content))

    @contextmanager
    def _room(self, request: Request) -> Iterator[int]:
        """Reserve memory for a body within this block, and give its largest size."""
        declared = request.headers.get("content-length", "")
        size = int(declared) if declared.isascii() and declared.isdigit() else self.settings.max_body
        if size > self.settings.max_body:
            raise self._too_large()
        if self._bytes_in_memory + size > _BODIES * self.settings.max_body:
            self.metrics.refused.inc()
            raise RequestError(429, "too many large requests are in progress; try again", code="queue_full")
        self._bytes_in_memory += size
        try:
            yield size
        finally:
            self._bytes_in_memory -= size

    def _too_large(self) -> RequestError:
        message = f"the body is larger than the {self.settings.max_body:,} bytes allowed; send fewer or smaller inputs"
        return RequestError(413, message)

    def _check_caller(self, request: Request) -> None:
        host = _PORT.sub("", request.headers.get("host", ""))
        if self.settings.hosts and host.strip("[]").lower() not in self.settings.hosts:
            names = ", ".join(self.settings.hosts)
            message = f"the Host header is {shortened(repr(host))}; address this server as one of {names}"
            raise RequestError(421, message, code="wrong_host")
        key = self.settings.api_key
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        is_right = scheme.lower() == "bearer" and hmac.compare_digest(given.encode(), (key or "").encode())
        if key is not None and not is_right:
            raise RequestError(401, "the API key is missing or wrong; send Authorization: Bearer KEY", code="bad_key")


async def request_error(_: Request, error: Exception) -> Response:
    """Return the answer to a request that was refused.

    Args:
        error: a RequestError.
    """
    assert isinstance(error, RequestError)  # noqa: S101  registered for these alone
    headers = {"Retry-After": "1"} if error.status == 429 else {}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(error.body(), error.status, headers=headers)


async def http_error(request: Request, error: Exception) -> Response:
    """Return the answer for an unknown path or method, in the same form as all other errors.

    Args:
        request: the request.
        error: an HTTPException.
    """
    assert isinstance(error, HTTPException)  # noqa: S101
    message, headers = f"{request.method} {shortened(request.url.path)}: {error.detail}", dict(error.headers or {})
    if error.status_code == 404:
        paths = [route.path for route in request.app.routes if "." not in route.path]  # without files of the page
        message += f"; the paths are {', '.join(paths)}"
    if "Allow" in headers:
        methods = sorted(headers["Allow"].split(", "))  # from a set, in any order
        headers["Allow"] = ", ".join(methods)
        message += f"; send {' or '.join(methods)}"
    response = await request_error(request, RequestError(error.status_code, message))
    response.headers.update(headers)
    return response
