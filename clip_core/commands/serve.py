"""`clip-zoo serve`: serve a model over HTTP."""

from __future__ import annotations

import errno
import gc
import ipaddress
import os
import socket
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from clip_core.commands.options import Dtype, Integer  # noqa: TC001  cyclopts reads the annotations
from clip_core.configuration.arguments import check_integers
from clip_core.hub.options import DEFAULT_MODEL
from clip_core.hub.printing import reason_of

if TYPE_CHECKING:
    from types import FrameType

    from clip_core.tasks.serving.settings import ServerSettings

_KEY = "CLIP_ZOO_API_KEY"
_CONNECTIONS = 1024
_SECONDS_TO_FINISH = 10  # for requests in progress when the server is stopped
_WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")  # the variables of OpenMP's libraries


def serve(
    *,
    model: str | None = None,
    index: Path | None = None,
    model_name: str | None = None,
    backend: str | None = None,
    device: str | None = None,
    dtype: Dtype = None,
    host: str = "127.0.0.1",
    port: Integer = 8000,
    api_key: str | None = None,
    batch_size: Integer = 32,
    max_wait: float = 3.0,
    max_queue: Integer = 4096,
    max_inputs: Integer = 2048,
    max_explanations: Integer = 8,
    max_body: Integer = 32 << 20,
    max_pixels: Integer = 50_000_000,
    timeout: float = 60.0,
    image_host: Annotated[list[str] | None, Parameter(negative="")] = None,
) -> int:
    """Serve embeddings over HTTP as OpenAI's clients request them; also labels, explanations, search and a page.

    Parameters
    ----------
    model
        A local folder or a hub id; by default that of --index, or openai/clip-vit-base-patch32.
    index
        An index made by `clip-zoo index`, to search its images.
    model_name
        The model's name in requests; by default its hub id, or the name of its folder.
    backend
        The framework that runs the model: torch, flax or tf; by default the first of these that is installed.
    device
        The device, such as cpu or cuda; by default the best available.
    dtype
        The dtype of the weights: float32, float16, bfloat16 or auto; by default that of --index, or float32.
    host
        The address to listen on; 0.0.0.0 for all addresses of this machine, in which case set a key.
    port
        The port to listen on; 0 for any free one.
    api_key
        A key that callers must send. It is safer in the environment variable CLIP_ZOO_API_KEY, because other users of
        the machine can read the command line.
    batch_size
        The most images of different requests to encode together; for texts, 8 times as many.
    max_wait
        Milliseconds without a new input after which an idle model stops waiting for the callers of its last batch.
    max_queue
        The most inputs in progress at a time, at least --max-inputs; further requests get status 429.
    max_inputs
        The most texts, labels or images in one request, and hits of a search.
    max_explanations
        The most texts to explain in one request.
    max_body
        The most bytes in the body of a request.
    max_pixels
        The most pixels of an image, width times height.
    timeout
        The most seconds for a request; one that takes longer gets status 504.
    image_host
        A host whose images may be given by URL; by default none. Repeat the option for several hosts. Private addresses
        are always refused.
    """
    check_integers(port=(port, 0), most=65535)
    _let_waiting_threads_sleep()
    try:
        import prometheus_client  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn
    except ModuleNotFoundError as error:
        raise ImportError(f"serving needs {error.name}: pip install 'clip-zoo[serve]'") from error
    from PIL import Image

    from clip_core.tasks.search import ImageIndex
    from clip_core.tasks.serving.app import create_app
    from clip_core.tasks.serving.settings import ServerSettings
    from clip_core.tasks.zero_shot import ZeroShotClassifier

    hosts = _own_names(host)
    source = model if model is not None or index is None else _model_of(index)
    settings = ServerSettings(
        model_name=_name_of(source or DEFAULT_MODEL) if model_name is None else model_name,
        api_key=os.environ.get(_KEY) or None if api_key is None else api_key,
        batch_size=batch_size,
        max_wait=max_wait,
        max_queue=max_queue,
        max_inputs=max_inputs,
        max_explanations=max_explanations,
        max_body=max_body,
        max_pixels=max_pixels,
        timeout=timeout,
        image_hosts=tuple(image_host or ()),
        hosts=hosts,
        show_paths=bool(hosts),
    )
    with ExitStack() as stack:
        listener = stack.enter_context(_listening(host, port))  # before the model is loaded, which takes longer
        if index is None:
            images = None
            classifier = ZeroShotClassifier.from_pretrained(
                source or DEFAULT_MODEL, backend=backend, device=device, dtype=dtype
            )
        else:
            images = stack.enter_context(ImageIndex(index, model=source, backend=backend, device=device, dtype=dtype))
            classifier = images.model
        # Before requests: a model whose embeddings are not finite is refused in one line.
        classifier.encode_texts(["warm up"])
        classifier.encode_images([Image.new("RGB", (8, 8))])
        _note(listener, settings)
        config = uvicorn.Config(
            create_app(classifier, settings, index=images),
            log_config=None,  # uvicorn's own closes the handlers of other libraries, and absl's would close its stream
            log_level="warning",
            access_log=False,
            proxy_headers=False,  # nothing depends on the caller's address
            limit_concurrency=_CONNECTIONS,
            timeout_graceful_shutdown=_SECONDS_TO_FINISH,
        )
        server, signals = uvicorn.Server(config), list[int]()
        handle = server.handle_exit

        def handle_exit(number: int, frame: FrameType | None) -> None:
            signals.append(number)
            handle(number, frame)

        server.handle_exit = handle_exit  # type: ignore[assignment, method-assign]
        gc.collect()
        gc.freeze()  # a collection that visits all objects of a framework takes 80 ms, and every request waits for it
        try:
            server.run(sockets=[listener])
        finally:
            gc.unfreeze()
    return 128 + signals[0] if signals else 0  # the shell's code for a command ended by a signal


def _let_waiting_threads_sleep() -> None:
    """Let OpenMP's threads sleep at each barrier; must run before PyTorch is imported.

    By default they spin for milliseconds, each on a processor that the event loop or another program needs to let the
    barrier end. On busy processors that is most of the time of a small batch.
    """
    if not any(name in os.environ for name in _WAITING):
        os.environ[_WAITING[0]] = "PASSIVE"


def _model_of(index: Path) -> str | None:
    """Return the model of an index; None if it is empty."""
    from clip_core.tasks.search import ImageIndex

    with ImageIndex(index) as images:
        return images.facts.get("model")


def _name_of(model: str) -> str:
    """Return the hub id of a model, or the name of its folder or file: answers must not show paths of this machine."""
    try:
        Path(model).stat()
    except (OSError, ValueError):  # not a path: a hub id
        return model
    return Path(model).absolute().name or model


def _own_names(host: str) -> tuple[str, ...]:
    """Return the names of this machine if only it can reach the server; otherwise none, as its names are unknown."""
    names = ("localhost", "127.0.0.1", "::1")
    try:
        is_local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_local = False
    return tuple(dict.fromkeys((*names, host))) if is_local else ()


def _listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens, so that an address in use is reported before a model is loaded."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=2048)
    except UnicodeError as error:  # from encoding the name for the resolver
        raise ValueError(f"--host {host} is not the name or address of a machine") from error
    except OSError as error:
        reason = reason_of(error).partition(" (while")[0]  # Python adds the address
        is_hosts = isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL
        options = f"--host {host}" if is_hosts else f"--host {host} --port {port}"
        advice = "; give a name or address of this machine" if is_hosts else ""
        raise OSError(f"{options}: cannot listen there: {reason}{advice}") from error


def _note(listener: socket.socket, settings: ServerSettings) -> None:
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    print(f"clip-zoo: {settings.model_name} at http://{shown}:{port} (Ctrl-C to stop)", flush=True)
    if settings.api_key is None and not settings.hosts:
        print("clip-zoo: other machines can use this server without a key; set CLIP_ZOO_API_KEY", file=sys.stderr)
