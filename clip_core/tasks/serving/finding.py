"""An index of images behind the server: searches, and thumbnails by id."""

from __future__ import annotations

import asyncio
import hashlib
import stat
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clip_core.images.decoding import ImageFileError, decode_image
from clip_core.images.pipeline import usable_threads
from clip_core.tasks.search.page import shown_name, thumbnail
from clip_core.tasks.search.reading import LARGEST
from clip_core.tasks.serving.settings import RequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from clip_core.tasks.search import Hit, ImageIndex
    from clip_core.tasks.serving.settings import ServerSettings

_THUMBNAILS = 32 << 20  # bytes in memory


class Finder:
    """Searches an index, one query at a time.

    An image's id is the hash of its file. A path cannot be asked for, and a thumbnail of an id never changes.

    Args:
        index: the index.
        settings: the limits.
    """

    def __init__(self, index: ImageIndex, settings: ServerSettings) -> None:
        self._index = index
        self._settings = settings
        self._searcher = ThreadPoolExecutor(1, "clip-serve-search")
        self._readers = ThreadPoolExecutor(usable_threads(), "clip-serve-thumbnail")
        self._cached: OrderedDict[str, bytes] = OrderedDict()

    def stop(self) -> None:
        """Stop the threads."""
        self._searcher.shutdown(cancel_futures=True)
        self._readers.shutdown(cancel_futures=True)

    async def search(
        self, query: np.ndarray, where: Sequence[str], *, top_k: int, probabilities: bool, exact: bool
    ) -> list[dict[str, Any]]:
        """Return the hits of a query, as JSON objects, best first.

        Args:
            query: an embedding of unit norm, `(projection,)`.
            where: conditions that all hits meet.
            top_k: the number of hits.
            probabilities: also give each hit's probability among the hits.
            exact: compare all images.
        """

        def hits() -> list[Hit]:
            return self._index.nearest(query, where=where, top_k=top_k, probabilities=probabilities, exact=exact)

        found = await asyncio.get_running_loop().run_in_executor(self._searcher, hits)
        return [self._written(place, hit) for place, hit in enumerate(found)]

    async def thumbnail(self, sha256: str) -> bytes:
        """Return the thumbnail of an image of the index, as a JPEG file of at most 320 x 320 pixels.

        Args:
            sha256: the image's id.

        Raises:
            RequestError: there is no such image, or its file is gone, changed or too large.
        """
        content = self._cached.get(sha256)
        if content is None:
            loop = asyncio.get_running_loop()
            paths = await loop.run_in_executor(self._searcher, self._index.paths, sha256)
            content = await loop.run_in_executor(self._readers, self._made, sha256, paths)
            self._cached[sha256] = content
            while sum(map(len, self._cached.values())) > _THUMBNAILS:
                self._cached.popitem(last=False)
        else:
            self._cached.move_to_end(sha256)
        return content

    def _made(self, sha256: str, paths: Sequence[Path]) -> bytes:
        for path in paths:
            try:
                status = path.stat()
                if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST:  # replaced: a pipe would never end
                    continue
                content = path.read_bytes()
            except OSError:  # deleted since it was indexed
                continue
            if hashlib.sha256(content).hexdigest() != sha256:
                continue
            try:
                return thumbnail(decode_image(content, "the image", self._settings.max_pixels))
            except ImageFileError as error:
                raise RequestError(422, str(error), code="unreadable_image") from error
        raise RequestError(404, "the index has no such image, or its file was deleted or changed", code="no_image")

    def _written(self, place: int, hit: Hit) -> dict[str, Any]:
        written: dict[str, Any] = {"index": place, "id": hit.sha256, "score": hit.score}
        if hit.probability is not None:
            written["probability"] = hit.probability
        written["name"] = shown_name(Path(hit.path.name))
        if self._settings.show_paths:
            written["path"] = shown_name(hit.path)
        written |= {"size": hit.size, "date": hit.taken, "width": hit.width, "height": hit.height}
        if hit.caption is not None:
            written["caption"] = hit.caption
        return written | {"thumbnail": f"/thumbnails/{hit.sha256}"}
