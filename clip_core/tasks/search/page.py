"""Hits as one HTML file: thumbnails inside, no script, and no file or address beside it."""

from __future__ import annotations

import base64
from html import escape
from io import BytesIO
from typing import TYPE_CHECKING

from clip_core.hub.printing import valid_text
from clip_core.images.decoding import ImageFileError
from clip_core.images.inputs import load_image
from clip_core.tasks.search.queries import name_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from PIL import Image

    from clip_core.tasks.search.queries import Hit

_SIDE = 320  # pixels of a thumbnail
_QUALITY = 80

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; font: 16px/1.4 system-ui, sans-serif }}
body {{ margin: 2rem auto; max-width: 80rem; padding: 0 1rem }}
ol {{ display: grid; gap: 1rem; list-style: none; padding: 0 }}
ol {{ grid-template-columns: repeat(auto-fill, minmax(12rem, 1fr)) }}
img {{ aspect-ratio: 1; object-fit: contain; width: 100%; background: #8882; border-radius: .5rem }}
p {{ margin: 0; overflow-wrap: anywhere }}
small {{ opacity: .75 }}
</style>
</head>
<body>
<h1>{title}</h1>
<ol>
{items}
</ol>
</body>
</html>
"""
_ITEM = """<li>
{picture}
<p>{score}</p>
<p>{name}</p>
{caption}<p><small>{details}</small></p>
</li>"""


def search_page(title: str, hits: Sequence[Hit]) -> str:
    """Return the page of a search.

    Args:
        title: the heading, such as the query.
        hits: the hits, best first.
    """
    return _PAGE.format(title=escape(title), items="\n".join(map(_item, hits)))


def _item(hit: Hit) -> str:
    name = shown_name(hit.path)
    share = "" if hit.probability is None else f" · {hit.probability:.1%}"
    caption = f"<p>{escape(hit.caption)}</p>\n" if hit.caption else ""
    details = f"{hit.taken.replace('T', ' ')} · {hit.width} × {hit.height} · {hit.size / 1e6:.2f} MB"  # noqa: RUF001
    return _ITEM.format(
        picture=_picture(hit.path, escape(name)),
        score=f"{hit.score:.4f}{share}",
        name=escape(name),
        caption=caption,
        details=details,
    )


def thumbnail(image: Image.Image) -> bytes:
    """Return an image in at most 320 x 320 pixels, as a JPEG file.

    Args:
        image: an RGB image, which is reduced in place.
    """
    image.thumbnail((_SIDE, _SIDE))
    file = BytesIO()
    image.save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()


def shown_name(path: Path) -> str:
    """Return a path as valid text, which the name of a file may not be.

    Args:
        path: the path.
    """
    return valid_text(name_of(path))


def _picture(path: Path, name: str) -> str:
    try:
        image = load_image(path)
    except ImageFileError:  # deleted or damaged since it was indexed
        return "<p><em>The file cannot be read any more.</em></p>"
    content = base64.b64encode(thumbnail(image)).decode()
    return f'<img src="data:image/jpeg;base64,{content}" alt="{name}">'
