"""The manifest of a dataset, and messages about a source that has changed since."""

from __future__ import annotations

import fsspec
import pytest

from clip_core.tasks.embedding import embed
from support.embedding import write, write_images
from support.messages import naming
from support.search import stand_in
from support.training_data import picture_bytes


@pytest.fixture(params=["disk", "memory"])
def place(request, tmp_path):
    """A folder, and a URL of object storage."""
    with stand_in():
        yield str(tmp_path) if request.param == "disk" else "memory://changed"
    if request.param == "memory":
        fsspec.filesystem("memory").rm("/changed", recursive=True)


@pytest.mark.parametrize(
    ("changed", "content"),
    [
        ("1/005.png", b"longer than before " * 99),
        ("0/000a.png", picture_bytes(1)),
        ("1/007.png", None),
        ("broken.png", b"still broken"),
    ],
)
def test_the_image_that_changed_in_a_folder_is_named(place, changed, content):
    source = write_images(f"{place}/images", range(10))
    write(f"{source}/broken.png", b"broken")
    embed(source, f"{place}/out", model="colours", rows_per_part=4)
    files, root = fsspec.core.url_to_fs(source)
    if content is None:
        files.rm_file(f"{root}/{changed}")
    else:
        write(f"{source}/{changed}", content)
    with pytest.raises(ValueError, match=naming(f"{root}/{changed}", f"{place}/out".split("//")[-1])) as refused:
        embed(source, f"{place}/out", rows_per_part=4)
    assert not {path for path in files.find(root) if path != f"{root}/{changed}" and path in str(refused.value)}
