"""The HTTP routes, as an ASGI application: run it by `clip-zoo serve`, or by any ASGI server."""

from __future__ import annotations

import asyncio
import base64
import hmac
import logging
import time
from contextlib import asynccontextmanager, contextmanager
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from clip_core.tasks.serving.engine import Engine
from clip_core.tasks.serving.inputs import check_fields, fields_of, inputs_of, integer_of, strings_of
from clip_core.tasks.serving.metrics import Metrics
from clip_core.tasks.serving.settings import RequestError, ServerSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    import numpy as np
    from starlette.requests import Request

    from clip_core.tasks.zero_shot import ZeroShotClassifier

_log = logging.getLogger("uvicorn.error")

_BODIES = 8  # in memory, each of the largest size
_LABELS = 5  # in an answer, by default
_PAGE = {"": "text/html", "page.css": "text/css", "page.js": "text/javascript"}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def create_app(classifier: ZeroShotClassifier, settings: ServerSettings | None = None) -> Starlette:
    """Return an ASGI application that serves a model.

    Args:
        classifier: the model and its processor.
        settings: the limits; None for the defaults.

    Example:
        >>> app = create_app(ZeroShotClassifier.from_pretrained("openai/clip-vit-base-patch32"))  # doctest: +SKIP
    """
    server = _Server(classifier, settings or ServerSettings())
    routes = [
        Route("/v1/embeddings", server.route("embeddings", server.embeddings), methods=["POST"]),
        Route("/v1/models", server.route("models", server.models), methods=["GET"]),
        Route("/classify", server.route("classify", server.classify), methods=["POST"]),
        Route("/metrics", server.route("metrics", server.metrics_text), methods=["GET"]),
        Route("/healthz", server.health, methods=["GET"]),
        *(Route(f"/{name}", server.page, methods=["GET"]) for name in _PAGE),
    ]
    handlers: dict[Any, Any] = {HTTPException: _http_error, RequestError: _request_error}
    return Starlette(routes=routes, lifespan=server.lifespan, exception_handlers=handlers)


class _Server:
    """The handlers of the routes.

    Args:
        classifier: the model and its processor.
        settings: the limits.
    """

    def __init__(self, classifier: ZeroShotClassifier, settings: ServerSettings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.engine = Engine(classifier, settings, self.metrics)
        self._bytes_in_memory = 0

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        """Start the model before the first request, and stop it after the last."""
        await self.engine.start()
        try:
            yield
        finally:
            await self.engine.stop()

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
                response = await _request_error(request, error)
            except TimeoutError:
                message = f"the request took more than {self.settings.timeout:g} seconds"
                response = await _request_error(request, RequestError(504, message, code="timeout"))
            except MemoryError:
                message = "there is not enough memory for this request; send fewer inputs"
                response = await _request_error(request, RequestError(503, message, code="out_of_memory"))
            except Exception:  # noqa: BLE001  the log has it, and the caller an answer
                _log.exception("%s failed", request.url.path)
                response = await _request_error(request, RequestError(500, "the server failed; its log says why"))
            self.metrics.requests.labels(name, response.status_code).inc()
            self.metrics.seconds.labels(name).observe(time.perf_counter() - start)
            return response

        return checked

    async def embeddings(self, request: Request) -> Response:
        """Answer a request for embeddings, in the form of OpenAI's API."""
        fields = await self._fields(request)
        known = {"input", "model", "encoding_format", "dimensions", "user", "truncation"}
        check_fields(fields, known)
        self._check_model(fields)
        layout = fields.get("encoding_format") or "float"
        if layout not in ("float", "base64"):
            raise RequestError(400, f"encoding_format is {layout!r}; choose float or base64", "encoding_format")
        truncation = fields.get("truncation", False)
        if not isinstance(truncation, bool):
            raise RequestError(400, "truncation is neither true nor false", "truncation")
        if integer_of(fields, "dimensions", self.engine.width) != self.engine.width:
            message = f"this model has embeddings of {self.engine.width} dimensions, which cannot be changed"
            raise RequestError(400, message, "dimensions")
        inputs = inputs_of(fields, "input", self.settings)
        embeds, tokens = await self.engine.embed(inputs, truncation=truncation)
        data = [
            {"object": "embedding", "index": index, "embedding": _written(row, layout)}
            for index, row in enumerate(embeds)
        ]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return JSONResponse({"object": "list", "data": data, "model": self.settings.model_name, "usage": usage})

    async def classify(self, request: Request) -> Response:
        """Answer a request for the most likely labels of images."""
        fields = await self._fields(request)
        check_fields(fields, {"images", "labels", "templates", "top_k", "model"})
        self._check_model(fields)
        labels = list(dict.fromkeys(strings_of(fields, "labels", self.settings)))
        templates = strings_of({"templates": ["{}"], **fields}, "templates", self.settings)
        count = integer_of(fields, "top_k", _LABELS)
        images = inputs_of(fields, "images", self.settings, only_images=True)
        if len(labels) * len(templates) > self.settings.max_inputs:
            most = self.settings.max_inputs
            raise RequestError(400, f"labels times templates are more than the {most} texts allowed", "labels")
        data = [
            {
                "index": index,
                "labels": [
                    {"label": labels[place], "probability": float(row[place])}
                    for place in (-row).argsort(kind="stable")[:count]
                ],
            }
            for index, row in enumerate(await self.engine.classify(images, labels, templates))
        ]
        return JSONResponse({"object": "list", "data": data, "model": self.settings.model_name})

    async def models(self, _: Request) -> Response:
        """Answer with the one model served, in the form of OpenAI's API."""
        model = {"id": self.settings.model_name, "object": "model", "created": 0, "owned_by": "clip-zoo"}
        return JSONResponse({"object": "list", "data": [model]})

    async def metrics_text(self, _: Request) -> Response:
        """Answer with the metrics."""
        return Response(self.metrics.text(), media_type="text/plain; version=0.0.4")

    async def health(self, _: Request) -> Response:
        """Answer that the server runs; it accepts no connection before the model is loaded."""
        return JSONResponse({"status": "ok"})

    async def page(self, request: Request) -> Response:
        """Answer with a file of the page."""
        name = request.url.path.removeprefix("/")
        content = files("clip_core.tasks.serving").joinpath(name or "page.html").read_bytes()
        return Response(content, media_type=_PAGE[name], headers=_HEADERS)

    def _check_caller(self, request: Request) -> None:
        host = (request.headers.get("host") or "").rpartition(":")[0] or request.headers.get("host", "")
        if self.settings.hosts and host.strip("[]").lower() not in self.settings.hosts:
            raise RequestError(421, "the Host header names another server", code="wrong_host")
        key = self.settings.api_key
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if key is not None and not hmac.compare_digest(given.encode(), key.encode()):
            raise RequestError(401, "the API key is missing or wrong; send Authorization: Bearer KEY", code="bad_key")

    def _check_model(self, fields: dict[str, Any]) -> None:
        name = fields.get("model")
        if name is not None and name != self.settings.model_name:
            message = f"this server has the model {self.settings.model_name!r}; give it as model, or leave model out"
            raise RequestError(404, message, "model", "model_not_found")

    async def _fields(self, request: Request) -> dict[str, Any]:
        """Return the fields of a JSON body within the limits."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":  # a page of another site cannot send this without being asked for permission
            raise RequestError(415, f"the Content-Type is {kind or 'missing'}; send application/json")
        with self._room(request) as most:
            content = bytearray()
            async for chunk in request.stream():
                content += chunk
                if len(content) > most:
                    raise self._too_large()
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
        return RequestError(413, f"the body is larger than the {self.settings.max_body:,} bytes allowed")


def _written(row: np.ndarray, layout: str) -> list[float] | str:
    """Return an embedding as numbers, or as little-endian float32 in base64, which OpenAI's clients request."""
    row = row.astype("<f4")
    return base64.b64encode(row.tobytes()).decode() if layout == "base64" else row.tolist()


async def _request_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)  # noqa: S101  registered for these alone
    headers = {"Retry-After": "1"} if error.status == 429 else {}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(error.body(), error.status, headers=headers)


async def _http_error(request: Request, error: Exception) -> Response:
    """Answer for an unknown path or method, in the same form as all other errors."""
    assert isinstance(error, HTTPException)  # noqa: S101
    message = f"{request.method} {request.url.path}: {error.detail}"
    response = await _request_error(request, RequestError(error.status_code, message))
    response.headers.update(error.headers or {})
    return response
