"""A folder has one owner at a time, which a second one names."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from clip_core.hub.owning import owned
from support.imports import ROOT
from support.limits import largest_file
from support.messages import naming

pytestmark = pytest.mark.skipif(os.name == "nt", reason="there are no locks of files on Windows")


@pytest.fixture(params=["there", "new", "a/b/new"])
def folder(request, tmp_path):
    (tmp_path / "there").mkdir()
    return tmp_path / request.param


def names(folder):
    return sorted(path.name for path in folder.rglob("*"))


def test_a_full_disk_is_told_with_the_folder_and_leaves_nothing(folder, tmp_path):
    before = names(tmp_path)
    with pytest.raises(OSError, match=naming(folder)), largest_file(0), owned(folder, "a conversion"):
        pass
    assert names(tmp_path) == before


def test_a_second_owner_is_refused_and_told_who_the_first_is(folder, tmp_path):
    before = names(tmp_path)
    with owned(folder, "a conversion"):
        words = naming(folder, "a conversion", str(os.getpid()))
        with pytest.raises(BlockingIOError, match=words), owned(folder, "a training run"):
            pass
        with pytest.raises(BlockingIOError, match=words), owned(folder, "a training run"):
            pass
        with owned(tmp_path / "other", "a training run"):
            pass
    with owned(folder, "a training run"):
        pass
    assert names(tmp_path) == before


def test_it_ends_with_an_error(folder, tmp_path):
    before = names(tmp_path)
    with pytest.raises(ZeroDivisionError), owned(folder, "a conversion"):
        raise ZeroDivisionError
    assert names(tmp_path) == before


def test_an_owner_that_was_killed_leaves_the_folder_free(tmp_path):
    program = f"""
import os
from pathlib import Path
from clip_core.hub.owning import owned
with owned(Path({str(tmp_path)!r}), "a conversion"):
    os._exit(9)
"""
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 9
    assert names(tmp_path) == [".saving-owner"]
    with owned(tmp_path, "a conversion"):
        pass
    assert names(tmp_path) == []


def test_the_file_of_an_owner_cannot_be_a_link(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / ".saving-owner").symlink_to(tmp_path / "notes.txt")
    with pytest.raises(OSError, match=r"\.saving-owner"), owned(tmp_path, "a conversion"):
        pass
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no /proc, where no file can be created")
@pytest.mark.parametrize("name", ["x", "x/y"])
def test_a_place_without_files_is_named_and_not_the_owners_file(name):
    with pytest.raises(OSError, match=naming(f"/proc/{name}")) as caught, owned(Path("/proc", name), "a conversion"):
        pass
    assert ".saving" not in str(caught.value)
