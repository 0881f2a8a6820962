"""The HTTP routes, as an ASGI application: run it by `clip-zoo serve`, or by any ASGI server."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from contextlib import asynccontextmanager
from functools import partial
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from clip_core.tasks.explain.explainer import METHODS
from clip_core.tasks.search.queries import query_of
from clip_core.tasks.serving.engine import Engine
from clip_core.tasks.serving.finding import Finder
from clip_core.tasks.serving.guard import Guard, http_error, request_error
from clip_core.tasks.serving.inputs import (
    boolean_of,
    check_fields,
    choice_of,
    conditions_of,
    inputs_of,
    integer_of,
    start_layer_of,
    strings_of,
    text_inputs_of,
)
from clip_core.tasks.serving.metrics import Metrics
from clip_core.tasks.serving.settings import RequestError, ServerSettings
from clip_core.tasks.zero_shot import check_templates

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import numpy as np
    from starlette.requests import Request

    from clip_core.tasks.search import ImageIndex
    from clip_core.tasks.zero_shot import ZeroShotClassifier

_LABELS = 5  # in an answer, by default
_HITS = 10  # in an answer, by default
_HITS_OF_PAGE = 24
_ROWS = 32  # embeddings; fewer take less time to write than to hand to a thread
_HASH = re.compile("[0-9a-f]{64}")
_PAGE = {"": "text/html", "page.css": "text/css", "page.js": "text/javascript"}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def create_app(
    classifier: ZeroShotClassifier, settings: ServerSettings | None = None, *, index: ImageIndex | None = None
) -> Starlette:
    """Return an ASGI application that serves a model, and an index of images.

    Args:
        classifier: the model and its processor.
        settings: the limits; None for the defaults.
        index: the index to search, whose `model` the classifier has to be; None to serve the model alone.

    Raises:
        ValueError: if the classifier is not the model of the index.

    Example:
        >>> app = create_app(ZeroShotClassifier.from_pretrained("openai/clip-vit-base-patch32"))  # doctest: +SKIP
    """
    if index is not None and index.model is not classifier:
        raise ValueError("the classifier is not the model of the index; give index.model as the classifier")
    server = _Server(classifier, settings or ServerSettings(), index)
    route = server.guard.route
    routes = [
        Route("/v1/embeddings", route("embeddings", server.embeddings), methods=["POST"]),
        Route("/v1/models", route("models", server.models), methods=["GET"]),
        Route("/v1/models/{name:path}", route("models", server.models), methods=["GET"]),
        Route("/classify", route("classify", server.classify), methods=["POST"]),
        Route("/explain", route("explain", server.explain), methods=["POST"]),
        Route("/search", route("search", server.search), methods=["POST"]),
        Route("/thumbnails/{sha256}", route("thumbnails", server.thumbnail), methods=["GET"]),
        Route("/metrics", route("metrics", server.metrics_text), methods=["GET"]),
        Route("/healthz", server.health, methods=["GET"]),
        *(Route(f"/{name}", server.page, methods=["GET"]) for name in _PAGE),
    ]
    handlers: dict[Any, Any] = {HTTPException: http_error, RequestError: request_error}
    app = Starlette(routes=routes, lifespan=server.lifespan, exception_handlers=handlers)
    app.router.redirect_slashes = False  # to the host that the request names, before it is checked
    return app


class _Server:
    """The handlers of the routes.

    Args:
        classifier: the model and its processor.
        settings: the limits.
        index: the index, or None.
    """

    def __init__(self, classifier: ZeroShotClassifier, settings: ServerSettings, index: ImageIndex | None) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.guard = Guard(settings, self.metrics)
        self.engine = Engine(classifier, settings, self.metrics)
        self._finder = None if index is None else Finder(index, settings)

    @property
    def finder(self) -> Finder:
        """The index.

        Raises:
            RequestError: the server has none.
        """
        if self._finder is None:
            raise RequestError(404, "this server has no index; start it with --index", code="no_index")
        return self._finder

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        """Start the model before the first request, and stop it after the last."""
        await self.engine.start()
        try:
            yield
        finally:
            await self.engine.stop()
            if self._finder is not None:
                self._finder.stop()

    async def embeddings(self, request: Request) -> Response:
        """Answer a request for embeddings, in the form of OpenAI's API."""
        fields = await self.guard.fields(request)
        known = {"input", "model", "encoding_format", "dimensions", "user", "truncation"}
        check_fields(fields, known)
        self._check_model(fields)
        layout = choice_of(fields, "encoding_format", ("float", "base64"))
        truncation = boolean_of(fields, "truncation")
        if integer_of(fields, "dimensions", self.engine.width) != self.engine.width:
            message = f"this model has embeddings of {self.engine.width} dimensions, which cannot be changed"
            raise RequestError(400, message, "dimensions")
        inputs = inputs_of(fields, "input", self.settings)
        embeds, tokens = await self.engine.embed(inputs, truncation=truncation)
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        if len(embeds) <= _ROWS:
            data = _written(embeds, layout)
        else:
            data = await asyncio.to_thread(_written, embeds, layout)
        rest = json.dumps({"model": self.settings.model_name, "usage": usage}).encode()
        return Response(b'{"object":"list","data":[%b],%b' % (data, rest[1:]), media_type="application/json")

    async def classify(self, request: Request) -> Response:
        """Answer a request for the most likely labels of images."""
        fields = await self.guard.fields(request)
        check_fields(fields, {"images", "labels", "templates", "top_k", "model"})
        self._check_model(fields)
        labels = list(dict.fromkeys(strings_of(fields, "labels", self.settings)))
        templates = strings_of({"templates": ["{}"], **fields}, "templates", self.settings)
        try:
            check_templates(templates)
        except ValueError as error:
            raise RequestError(400, str(error), "templates") from error
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
        return self._list(data)

    async def search(self, request: Request) -> Response:
        """Answer a request for the images of the index that are most similar to texts and images."""
        fields = await self.guard.fields(request)
        finder = self.finder
        check_fields(fields, {"texts", "images", "without", "where", "top_k", "probabilities", "exact", "model"})
        self._check_model(fields)
        added = self._optional(text_inputs_of, fields, "texts")
        added += self._optional(inputs_of, fields, "images", only_images=True)
        without = self._optional(text_inputs_of, fields, "without")
        where = self._optional(conditions_of, fields, "where")
        most = self.settings.max_inputs
        count = integer_of(fields, "top_k", min(_HITS, most))
        options = {name: boolean_of(fields, name) for name in ("probabilities", "exact")}
        if count > most:
            raise RequestError(400, f"top_k is {count}; at most {most} hits are allowed", "top_k")
        if not 0 < len(added) + len(without) <= most:
            raise RequestError(400, f"give 1 to {most} texts and images to search for", "texts", "missing_field")
        embeds, tokens = await self.engine.embed([*added, *without])
        parts = [embeds[: len(added)], embeds[len(added) :]]
        try:
            query = query_of(*([part] if len(part) else [] for part in parts))
        except ValueError as error:
            raise RequestError(400, str(error), "without") from error
        with self.engine.admitted(1):
            data = await finder.search(query, where, top_k=count, **options)
        return self._list(data, usage={"prompt_tokens": tokens, "total_tokens": tokens})

    async def thumbnail(self, request: Request) -> Response:
        """Answer with an image of the index, made small. Its id is the hash of its file, so browsers may keep it."""
        finder, sha256 = self.finder, request.path_params["sha256"]
        if _HASH.fullmatch(sha256) is None:
            raise RequestError(404, "an image's id is that of a hit: 64 hexadecimal digits", code="no_image")
        headers = {
            "Cache-Control": "private, max-age=31536000, immutable",
            "ETag": f'"{sha256}"',
            "X-Content-Type-Options": "nosniff",
        }
        with self.engine.admitted(1):
            content = await finder.thumbnail(sha256)
        if headers["ETag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(content, media_type="image/jpeg", headers=headers)

    async def explain(self, request: Request) -> Response:
        """Answer a request for the regions of an image and the words of texts that their logits depend on."""
        fields = await self.guard.fields(request)
        check_fields(fields, {"image", "texts", "method", "start_layer", "model"})
        self._check_model(fields)
        method = choice_of(fields, "method", METHODS)
        layers = self.engine.vision_layers
        start_layer = start_layer_of(fields, "start_layer", layers) if layers else None
        texts = strings_of(fields, "texts", self.settings)
        if len(texts) > self.settings.max_explanations:
            most = self.settings.max_explanations
            raise RequestError(400, f"texts has {len(texts)} entries; at most {most} can be explained at once", "texts")
        images = inputs_of(fields, "image", self.settings, only_images=True)
        if len(images) != 1:
            raise RequestError(400, f"image is a list of {len(images)}; give one image", "image")
        data = await self.engine.explain(images[0], texts, method, start_layer)
        return self._list(data, method=method)

    async def models(self, request: Request) -> Response:
        """Answer with the one model served, in a list or by its name, in the form of OpenAI's API."""
        model = {"id": self.settings.model_name, "object": "model", "created": 0, "owned_by": "clip-zoo"}
        if "name" not in request.path_params:
            return JSONResponse({"object": "list", "data": [model]})
        self._check_model({"model": request.path_params["name"]})
        return JSONResponse(model)

    async def metrics_text(self, _: Request) -> Response:
        """Answer with the metrics."""
        return Response(self.metrics.text(), media_type="text/plain; version=0.0.4")

    async def health(self, _: Request) -> Response:
        """Answer that the server runs; it accepts no connection before the model is loaded."""
        return JSONResponse({"status": "ok"})

    async def page(self, request: Request) -> Response:
        """Answer with a file of the page."""
        name = request.url.path.rpartition("/")[2]  # after the path where the application is mounted
        content = files("clip_core.tasks.serving").joinpath(name or "page.html").read_bytes()
        if self._finder is not None:
            hits = min(_HITS_OF_PAGE, self.settings.max_inputs)
            content = content.replace(b"<body>", b'<body data-hits="%d">' % hits)  # shows the tab of the search
        return Response(content, media_type=_PAGE[name], headers=_HEADERS)

    def _list(self, data: list[dict[str, Any]], **more: Any) -> Response:
        return JSONResponse({"object": "list", "data": data, "model": self.settings.model_name, **more})

    def _optional(self, read: Callable[..., list[Any]], fields: dict[str, Any], name: str, **options: Any) -> list[Any]:
        """Return what `read` returns for a field; nothing if it is absent, null or an empty list."""
        return [] if fields.get(name) in (None, []) else read(fields, name, self.settings, **options)

    def _check_model(self, fields: dict[str, Any]) -> None:
        name = fields.get("model")
        if name is not None and name != self.settings.model_name:
            message = f"this server has the model {self.settings.model_name!r}; give it as model, or leave model out"
            raise RequestError(404, message, "model", "model_not_found")


def _written(embeds: np.ndarray, layout: str) -> bytes:
    """Return embeddings as JSON objects: as numbers, or as little-endian float32 in base64, which OpenAI's clients use.

    Args:
        embeds: `(inputs, projection)`, float32, finite.
        layout: "float" or "base64".
    """
    if layout == "base64":
        rows = [b'"%b"' % base64.b64encode(row.tobytes()) for row in embeds.astype("<f4", copy=False)]
    else:
        rows = list(map(_as_json, embeds))
    return b",".join(b'{"object":"embedding","index":%d,"embedding":%b}' % pair for pair in enumerate(rows))


def _printed(row: np.ndarray) -> bytes:
    """Return numbers as a JSON array.

    Nine digits identify a float32. The json module writes 17, which takes three times the time.
    """
    numbers = ",".join(["%.9g"] * len(row))
    return f"[{numbers % tuple(row.tolist())}]".encode()


def _writer() -> Callable[[np.ndarray], bytes]:
    """Return a function that writes float32 as a JSON array: orjson's, which takes a ninth of the time of ours."""
    try:
        from orjson import OPT_SERIALIZE_NUMPY, dumps
    except ModuleNotFoundError:  # not every Python has a build of it
        return _printed
    return partial(dumps, option=OPT_SERIALIZE_NUMPY)


_as_json = _writer()
