from __future__ import annotations

import base64
import re
from io import BytesIO

from PIL import Image

from clip_core.tasks.search import Hit
from clip_core.tasks.search.page import search_page
from support.search import save_image


def test_a_page_holds_its_thumbnails_and_escapes_every_text(tmp_path):
    path = save_image(tmp_path / "<img src=x onerror=a>&\"'.png", (255, 0, 0), size=(2000, 1000))
    hit = Hit(path, 0.25, 0.5, 1000, "2024-01-01T00:00:00", 2000, 1000, "<b>caption</b>", "ab")
    page = search_page("<script>", [hit, hit._replace(path=tmp_path / "gone.png", caption=None)])
    assert "<script" not in page
    assert "<img src=x" not in page
    assert "<b>" not in page
    assert "&lt;b&gt;caption" in page
    (content,) = re.findall(r'src="data:image/jpeg;base64,([^"]*)"', page)
    with Image.open(BytesIO(base64.b64decode(content))) as thumbnail:
        assert max(thumbnail.size) == 320
    assert "gone.png" in page
    assert not re.search(r"https?://", page)
    assert "50.0%" in page
