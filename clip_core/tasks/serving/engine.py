"""The model behind the server: threads read and preprocess inputs, and one thread runs the model on batches of them."""

from __future__ import annotations

import asyncio
import base64
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from PIL import Image

from clip_core.images.decoding import ImageFileError, decode_image
from clip_core.images.pipeline import usable_threads
from clip_core.tasks.explain.drawing import overlay
from clip_core.tasks.explain.explainer import Explainer
from clip_core.tasks.serving.batching import Batcher, padded
from clip_core.tasks.serving.inputs import ImageInput, TextInput
from clip_core.tasks.serving.remote import read_url
from clip_core.tasks.serving.settings import RequestError
from clip_core.tasks.serving.text_batches import EncodedText, TextEncoder, Tokens, Untokenized
from clip_core.tasks.texts import NotFiniteError
from clip_core.tasks.zero_shot import softmax

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from clip_core.tasks.serving.metrics import Metrics
    from clip_core.tasks.serving.settings import ServerSettings
    from clip_core.tasks.zero_shot import ZeroShotClassifier


Result = TypeVar("Result")

_TEXTS_FOR_AN_IMAGE = 8  # in a batch: a short text takes that much less time
_ENOUGH = 8  # with ViT-B/32 on a CPU, 32 texts at once take 5% more time for each than 256, and 8 texts 35% more
_INLINE = 2048  # characters; fewer take less time to tokenize than to hand to a thread


class Engine:
    """Encodes the inputs of many requests with one model.

    Args:
        classifier: the model and its processor.
        settings: the limits.
        metrics: counts what is encoded.
    """

    def __init__(self, classifier: ZeroShotClassifier, settings: ServerSettings, metrics: Metrics) -> None:
        self.classifier = classifier
        self._prepared = classifier.prepared()  # returns no gradients, which explanations need
        self.settings = settings
        self._width = 0
        self._is_started = False
        self._metrics = metrics
        self._admitted = 0
        metrics.queue.set_function(lambda: self._admitted)
        self._readers = ThreadPoolExecutor(usable_threads(), "clip-serve-read")
        self._model = ThreadPoolExecutor(1, "clip-serve-model")  # a model runs one batch at a time
        waiting = settings.max_wait / 1000
        most = settings.batch_size * _TEXTS_FOR_AN_IMAGE
        self._text_encoder = TextEncoder(self._prepared, most)
        self._images: Batcher[np.ndarray, np.ndarray] = Batcher(
            self._encode_images,
            most=settings.batch_size,
            enough=max(1, settings.batch_size // _ENOUGH),
            max_wait=waiting,
            executor=self._model,
            on_batch=metrics.batches("image").observe,
        )
        self._texts: Batcher[Tokens | Untokenized, EncodedText] = Batcher(
            self._text_encoder.encode,
            most=most,
            enough=max(1, most // _ENOUGH),
            max_wait=waiting,
            executor=self._model,
            on_batch=metrics.batches("text").observe,
        )

    async def start(self) -> None:
        """Encode one text and one image, so that the first request does not wait for that, and accept others."""
        self._texts.start()
        self._images.start()
        self._is_started = True
        blank = BytesIO()
        Image.new("RGB", (8, 8)).save(blank, "PNG")
        for one in (TextInput("warm up", "input"), ImageInput(blank.getvalue(), None, "input")):
            embeds, _ = await self.embed([one])  # one by one, because the queue may have room for one
        self._width = embeds.shape[1]

    async def stop(self) -> None:
        """Stop the threads."""
        await self._texts.stop()
        await self._images.stop()
        self._readers.shutdown(cancel_futures=True)
        self._model.shutdown(cancel_futures=True)

    @property
    def width(self) -> int:
        """The dimensions of an embedding.

        Raises:
            RequestError: the engine was not started.
        """
        self._check_started()
        return self._width

    def _check_started(self) -> None:
        if not self._is_started:  # nothing would form batches, and the request would wait for its time limit
            message = "the server was not started: run the lifespan of this ASGI application, also if it is mounted"
            raise RequestError(503, message, code="not_started")

    @contextmanager
    def admitted(self, count: int) -> Iterator[None]:
        """Count inputs as in progress within this block.

        Args:
            count: number of inputs.

        Raises:
            RequestError: too many are in progress, or the engine was not started.
        """
        self._check_started()
        if self._admitted + count > self.settings.max_queue:
            self._metrics.refused.inc()
            raise RequestError(429, "too many inputs are in progress; try again in a second", code="queue_full")
        self._admitted += count
        try:
            yield
        finally:
            self._admitted -= count

    async def embed(
        self, inputs: Sequence[TextInput | ImageInput], *, truncation: bool = False
    ) -> tuple[np.ndarray, int]:
        """Encode texts and images.

        Args:
            inputs: the texts and images.
            truncation: truncate texts that are too long for the model.

        Returns:
            Embeddings of unit norm `(inputs, projection)`, float32, in order; and the number of tokens.

        Raises:
            RequestError: an input cannot be read, a text is too long, too many inputs are in progress, or an embedding
                is not finite.
        """
        texts = [one for one in inputs if isinstance(one, TextInput)]
        images = [one for one in inputs if isinstance(one, ImageInput)]
        with self.admitted(len(inputs)):
            if len(inputs) == len(texts) == 1 and len(texts[0].text) <= _INLINE:
                tokens: Sequence[Tokens | Untokenized] = [Untokenized(texts[0], truncation)]
            else:
                tokens = await self._tokenized(texts, truncation)
            pixels = await self._read(images) if images else []
            if texts and images:
                of_texts, of_images = await asyncio.gather(self._texts.submit(tokens), self._images.submit(pixels))
            else:  # without the tasks that `gather` makes
                of_texts, of_images = await self._texts.submit(tokens), await self._images.submit(pixels)
        rest = {TextInput: (one.embed for one in of_texts), ImageInput: iter(of_images)}
        self._metrics.inputs("text").inc(len(texts))
        self._metrics.inputs("image").inc(len(images))
        embeds = np.array([next(rest[type(one)]) for one in inputs])
        if not np.isfinite(embeds).all():
            raise _not_finite()
        return embeds, sum(one.tokens for one in of_texts)

    async def classify(
        self, images: Sequence[TextInput | ImageInput], labels: list[str], templates: list[str]
    ) -> np.ndarray:
        """Return the probability of each label for each image: `(images, labels)`, float32.

        Args:
            images: the images.
            labels: the labels.
            templates: texts with a `{}` for the label.

        Raises:
            RequestError: as in `embed`; or a label is too long, or a template has no `{}`.
        """
        with self.admitted(len(labels) * len(templates)):
            image_embeds, _ = await self.embed(images)
            return await asyncio.get_running_loop().run_in_executor(
                self._model, self._probabilities, image_embeds, labels, templates
            )

    @property
    def vision_layers(self) -> int:
        """The number of layers of the vision tower; 0 if the backend returns no gradients, so nothing is explained."""
        encoder: Any = self.classifier.encoder
        return int(encoder.config.vision_config.num_hidden_layers) if hasattr(encoder, "logit_gradients") else 0

    async def explain(
        self, image: TextInput | ImageInput, texts: list[str], method: str, start_layer: int | None
    ) -> list[dict[str, Any]]:
        """Return the explanation of each text's logit, as a JSON object with a drawing of the heatmap.

        Args:
            image: the image.
            texts: the texts.
            method: one of `clip_core.tasks.explain.explainer.METHODS`.
            start_layer: the first layer of the vision tower that the method reads; None for the method's default.

        Raises:
            RequestError: the image cannot be read, a text is too long, too many inputs are in progress, or the model
                returns no gradients.
        """
        if not self.vision_layers:
            raise RequestError(501, "this model cannot be explained: its backend returns no gradients")
        with self.admitted(1 + len(texts)):
            inputs = [TextInput(text, f"texts[{place}]") for place, text in enumerate(texts)]
            await self._tokenized(inputs, truncation=False)  # refuses texts that are too long
            decoded = await self._in_reader(self._decoded, image)
            found: list[dict[str, Any]] = await asyncio.get_running_loop().run_in_executor(
                self._model, self._explained, decoded, texts, method, start_layer
            )
        return found

    def _in_reader(self, function: Callable[..., Result], *arguments: Any) -> asyncio.Future[Result]:
        return asyncio.get_running_loop().run_in_executor(self._readers, function, *arguments)

    async def _read(self, images: list[ImageInput]) -> list[np.ndarray]:
        with self._images.coming(len(images)):
            return await asyncio.gather(*(self._in_reader(self._pixels, one) for one in images))

    async def _tokenized(self, texts: list[TextInput], truncation: bool) -> list[Tokens]:
        if sum(len(one.text) for one in texts) <= _INLINE:
            return self._text_encoder.tokenize(texts, truncation) if texts else []
        return await self._in_reader(self._text_encoder.tokenize, texts, truncation)

    def _decoded(self, image: ImageInput) -> Image.Image:
        content = image.content
        if content is None:
            content = read_url(image.url or "", image.place, self.settings)
        try:
            return decode_image(content, image.place, self.settings.max_pixels)
        except ImageFileError as error:
            raise RequestError(400, str(error), image.place, "unreadable_image") from error

    def _pixels(self, image: ImageInput) -> np.ndarray:
        decoded = self._decoded(image)
        try:
            pixels = self.classifier.processor(images=[decoded], return_tensors="np")["pixel_values"]
        except ValueError as error:
            raise _unreadable(error, image.place) from error
        image_pixels: np.ndarray = pixels[0]
        return image_pixels

    def _encode_images(self, pixels: list[np.ndarray]) -> list[np.ndarray]:
        rows = padded(pixels, self.settings.batch_size, self._prepared.encoder)
        return list(self._prepared.encoder.encode_images(np.stack(rows))[: len(pixels)])

    def _probabilities(self, image_embeds: np.ndarray, labels: list[str], templates: list[str]) -> np.ndarray:
        try:
            label_embeds = self._prepared.embed_labels(labels, templates)
        except NotFiniteError as error:
            raise _not_finite() from error
        except ValueError as error:
            raise RequestError(400, str(error), "labels") from error
        return softmax(self.classifier.encoder.logits_per_image(image_embeds, label_embeds))

    def _explained(
        self, image: Image.Image, texts: list[str], method: str, start_layer: int | None
    ) -> list[dict[str, Any]]:
        explainer = Explainer(self.classifier.encoder, self.classifier.processor)  # type: ignore[arg-type]  # checked by its method
        try:
            explained = explainer(image, texts, method=method, start_layer=start_layer)
        except NotFiniteError as error:
            raise _not_finite() from error
        except ValueError as error:  # such as for an image that is far too narrow
            raise _unreadable(error, "image") from error
        return [
            {
                "index": place,
                "text": one.text,
                "logit": one.logit,
                "heatmap": one.heatmap.tolist(),
                "words": [{"word": word.text, "share": word.share} for word in one.words],
                "overlay": _as_uri(overlay(explained, one)),
            }
            for place, one in enumerate(explained.explanations)
        ]


def _unreadable(error: ValueError, place: str) -> RequestError:
    """Return the refusal of an image that the processor got alone and cannot prepare."""
    reason = str(error).removeprefix("images[0]: ")
    return RequestError(400, f"{place}: {reason}", place, "unreadable_image")


def _not_finite() -> RequestError:
    return RequestError(500, "the model returned numbers that are not finite", code="not_finite")


def _as_uri(image: Image.Image) -> str:
    file = BytesIO()
    image.save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
