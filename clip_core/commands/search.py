"""`clip-zoo search`: search an index of images by text and by image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from clip_core.commands.options import SEVERAL, Dtype, Integer, Page, texts_of
from clip_core.commands.streams import console, print_row
from clip_core.configuration.arguments import check_integers
from clip_core.hub.printing import LONGEST_PATH, path_from_here, printable, valid_text
from clip_core.hub.targets import check_page

if TYPE_CHECKING:
    from clip_core.tasks.search import Hit


def search(
    index: Annotated[Path, Parameter(name="INDEX")],
    texts: Annotated[list[str] | None, Parameter(name="TEXT", negative="")] = None,
    /,
    *,
    image: Annotated[list[Path] | None, SEVERAL] = None,
    without: Annotated[list[str] | None, Parameter(name="--not"), SEVERAL] = None,
    where: Annotated[list[str] | None, SEVERAL] = None,
    top_k: Integer = 10,
    probabilities: Annotated[bool, Parameter(negative="")] = False,
    exact: Annotated[bool, Parameter(negative="")] = False,
    model: str | None = None,
    backend: str | None = None,
    device: str | None = None,
    dtype: Dtype = None,
    json: Annotated[bool, Parameter(negative="")] = False,
    html: Page = None,
    open: Annotated[bool, Parameter(negative="")] = False,  # noqa: A002  the option's name
) -> int:
    """Search an index of images by text and by image. The query is the sum of all texts and images, minus --not.

    Parameters
    ----------
    index
        The folder of the index, made by `clip-zoo index`.
    texts
        Texts to search for; the query is the sum of all texts and images.
    image
        Images to search for, with or without texts.
    without
        Texts to subtract from the query.
    where
        Conditions on the hits, such as folder=/photos/2024, date>=2024-06 or size<2MB; a hit meets all.
    top_k
        The number of hits.
    probabilities
        Also show each hit's probability: the model's softmax over the hits.
    exact
        Compare all images, even in a large index.
    model
        A local folder or a hub id; it has to be the model of the index, which is the default.
    backend
        The framework that runs the model: torch, flax or tf; by default the first of these that is installed.
    device
        The device, such as cpu or cuda; by default the best available.
    dtype
        The dtype of the weights: float32, float16, bfloat16 or auto; by default that of the index.
    json
        Print one JSON object per line instead of a table.
    html
        Also write the hits with thumbnails into one HTML file. Missing folders are created, and an earlier page is
        replaced.
    open
        Show that page in the browser; without --html it is a temporary file.
    """
    check_integers(top_k=(top_k, 1))
    if not (texts or image or without):
        raise ValueError("there is nothing to search for; give a TEXT or --image")
    if html is not None:
        check_page("html", html)
    from clip_core.tasks.search import ImageIndex

    with (
        ImageIndex(index, model=model, backend=backend, device=device, dtype=dtype) as images,
        texts_of(model or images.facts.get("model", "")),
    ):
        hits = images.search(
            texts or [],
            images=image or [],
            without=without or [],
            where=where or [],
            top_k=top_k,
            probabilities=probabilities,
            exact=exact,
        )
    if html is not None or open:
        _write_page(_title(texts or [], image or [], without or []), hits, html, show=open)
    if json:
        for hit in hits:
            print_row(_as_json(hit))
    else:
        _print_table(hits)
    return 0


def _title(texts: list[str], images: list[Path], without: list[str]) -> str:
    added = " + ".join([*texts, *(str(path) for path in images)])
    title = " − ".join([added, *without])  # noqa: RUF001
    return valid_text(title)


def _write_page(title: str, hits: list[Hit], path: Path | None, *, show: bool) -> None:
    from clip_core.hub.files import write_text
    from clip_core.tasks.search.page import search_page

    if path is None:
        import tempfile

        path = Path(tempfile.mkdtemp(prefix="clip-zoo-")) / "search.html"
    write_text(path, search_page(title, hits))
    if show:
        import webbrowser

        webbrowser.open(path.absolute().as_uri())


def _as_json(hit: Hit) -> dict[str, object]:
    from clip_core.tasks.search.queries import name_of

    row: dict[str, object] = {"image": name_of(hit.path), "score": hit.score}
    if hit.probability is not None:
        row["probability"] = hit.probability
    row |= {"size": hit.size, "date": hit.taken, "width": hit.width, "height": hit.height}
    if hit.caption is not None:
        row["caption"] = hit.caption
    return row


def _print_table(hits: list[Hit]) -> None:
    from rich.table import Table
    from rich.text import Text

    from clip_core.tasks.search.queries import name_of

    if not hits:
        print("no image meets the conditions")
        return
    has_share = hits[0].probability is not None
    has_caption = any(hit.caption for hit in hits)
    table = Table(box=None, header_style="bold", padding=(0, 1, 0, 0))
    for heading in ("score", *(["probability"] if has_share else []), "image", *(["caption"] if has_caption else [])):
        table.add_column(heading, overflow="fold")
    for hit in hits:
        share = [f"{hit.probability:.1%}"] if hit.probability is not None else []
        name = path_from_here(hit.path) if hit.path.is_absolute() else printable(name_of(hit.path), LONGEST_PATH)
        caption = [printable(hit.caption or "", LONGEST_PATH)] if has_caption else []
        # As Text: rich would parse square brackets in a plain string as markup.
        table.add_row(*map(Text, (f"{hit.score:.4f}", *share, name, *caption)))
    console().print(table)
