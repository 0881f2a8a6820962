"""The report in HTML: one file, names escaped."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
from PIL import Image

from clip_core.tasks.explain import ExplainedImage, Explanation, Word, explanation_page


def test_a_report_is_one_file_that_shows_names_as_they_are():
    hostile = '"><script>alert(1)</script>'
    explanation = Explanation(hostile, 1.5, np.eye(2), [Word(hostile, 1.0)])
    explained = ExplainedImage(Image.new("RGB", (4, 4)), 2, [explanation])
    document = explanation_page([(f"{hostile}.png", explained)], "chefer")
    found = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attributes):
            found.append((tag, dict(attributes)))

    reader = Reader()
    reader.feed(document)
    assert "script" not in [tag for tag, _ in found]
    images = [attributes for tag, attributes in found if tag == "img"]
    assert len(images) == 2
    assert all(image["src"].startswith("data:image/png;base64,") for image in images)
    assert hostile in images[1]["alt"]
    assert not re.search(r"https?://", document)
    assert "100%" in document
    assert "1.50" in document
