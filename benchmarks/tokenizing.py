"""Row 11: texts to ids beside transformers 4.57.6: equal ids, checked first, and the relative time.

`CLIPTokenizer` is plain Python and `CLIPTokenizerFast` uses the `tokenizers` library; each is compared with the class
of the same name. Texts have 3 to 20 English words, and vocabulary and merges are those of the demo checkpoint.
"""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import COLUMNS, Row, compare, times_as_fast
from plots import bars
from report import Report, Table

from clip_core.tokenization import CLIPTokenizer, CLIPTokenizerFast

if TYPE_CHECKING:
    from settings import Settings

WORDS = """
a photo of the cat dog bird sitting standing on mat grass with red blue umbrella running quickly through forest and
mountains under clouds near an old stone bridge at night people drinking coffee in crowded street
"""
COUNT = 1000
TOKENIZER = Path(__file__).parents[1] / "examples" / "shapes" / "checkpoint"


def report(settings: Settings) -> Report:
    """Run the benchmark; a quick check uses fewer texts."""
    found = rows(20 if settings.quick else COUNT)
    written = Report("tokenizing", "Texts to ids", __doc__ or "", quick=settings.quick)
    written.tables = [Table(["texts", *COLUMNS], [row.cells() for row in found])]
    written.measurements = [row.record() for row in found]
    written.goals = [times_as_fast(row, 1.0) for row in found]
    written.plot = partial(draw, written.measurements)
    return written


def draw(measurements: list[dict[str, Any]], path: Path) -> None:
    """Plot how many times as fast as the peer each row is."""
    values = {f"{one['name']}\nbeside {one['peer']}": one["ratio"] for one in measurements}
    bars(path, title="Texts to ids", across="times as fast as the peer", values=values, line=1.0)


def random_texts(count: int) -> list[str]:
    """Return the same texts of random words in every run."""
    generator = random.Random(0)  # noqa: S311  texts need no secret
    return [" ".join(generator.choices(WORDS.split(), k=generator.randint(3, 20))) for _ in range(count)]


def rows(count: int) -> list[Row]:
    """Compare one text and a padded batch of each class, once their ids are equal."""
    import transformers

    texts, found = random_texts(count), []
    for kind in (CLIPTokenizer, CLIPTokenizerFast):
        ours = kind.from_pretrained(TOKENIZER, model_max_length=77)
        theirs = getattr(transformers, kind.__name__).from_pretrained(TOKENIZER, model_max_length=77)
        for name, text, options in (("one text", texts[0], {}), (f"{count} texts, padded", texts, {"padding": True})):
            by_us, by_them = partial(ours, text, **options), partial(theirs, text, **options)
            assert dict(by_us()) == dict(by_them())
            row = compare(f"{kind.__name__}, {name}", by_us, by_them, peer_name="transformers 4.57.6")
            found.append(row)
    return found
