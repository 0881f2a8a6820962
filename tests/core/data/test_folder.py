"""Images in a folder, with captions beside them or in a table, and files without a counterpart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clip_core.data.folder import open_folder, open_table, table_in
from clip_core.data.pairs import Broken
from support.messages import mentions, naming
from support.training_data import picture_bytes, write_folder


def write_table(folder, rows):
    path = folder / "metadata.jsonl"
    path.write_text("\n".join(json.dumps({"file_name": name, "text": text}) for name, text in rows))
    return path


def test_captions_stand_beside_pictures_at_any_depth(tmp_path):
    write_folder(tmp_path, 2)
    write_folder(tmp_path / "inner", 1)
    pairs = open_folder(tmp_path)
    found = [(Path(pairs[place].image), pairs[place].captions) for place in range(len(pairs))]
    assert found == [(path, path.with_suffix(".txt")) for path in sorted(tmp_path.rglob("*.png"))]


def test_a_name_with_dots_is_a_name(tmp_path):
    (tmp_path / "a.b.png").write_bytes(picture_bytes(1))
    (tmp_path / "a.b.txt").write_text("cat")
    assert len(open_folder(tmp_path)) == 1


def test_pictures_without_captions_and_the_reverse_are_told_by_number_and_name(tmp_path):
    write_folder(tmp_path, 9)
    for number in range(7):
        (tmp_path / f"{number:03}.txt").unlink()
    (tmp_path / "007.png").unlink()
    shown = [f"{number:03}.png" for number in range(5)]
    with pytest.raises(ValueError, match=naming(tmp_path, 7, *shown, 1, "007.txt", "unpaired='skip'")) as error:
        open_folder(tmp_path)
    assert not mentions(str(error.value), "005.png")


def test_what_has_no_counterpart_can_be_left_out(tmp_path, caplog):
    write_folder(tmp_path, 3)
    (tmp_path / "001.txt").unlink()
    pairs = open_folder(tmp_path, unpaired="skip")
    assert [Path(pairs[place].key).name for place in range(len(pairs))] == ["000.png", "002.png"]
    assert mentions(caplog.text, 1, "001.png")
    caplog.clear()
    (tmp_path / "000.txt").unlink()
    (tmp_path / "002.txt").unlink()
    assert len(open_folder(tmp_path, unpaired="skip")) == 0
    assert caplog.text == ""  # the caller reports that nothing is left


def test_a_table_names_pictures_relative_to_itself(tmp_path):
    write_folder(tmp_path / "inner", 2)
    table = write_table(tmp_path, [("inner/001.png", "one"), ("inner/000.png", ["a", "b"])])
    pairs = open_table(table)
    assert [pairs[0].captions, pairs[1].captions] == [("one",), ("a", "b")]
    assert pairs[0].image == tmp_path / "inner/001.png"
    assert pairs[0].key == f"{table} line 1 (inner/001.png)"


def test_rows_without_pictures_and_the_reverse_are_told(tmp_path):
    write_folder(tmp_path, 2)
    table = write_table(tmp_path, [("000.png", "zero"), ("gone.png", "gone")])
    with pytest.raises(ValueError, match=naming("metadata.jsonl", "001.png", "gone.png", 2, "unpaired='skip'")):
        open_table(table)
    assert len(open_table(table, unpaired="skip")) == 1


def test_an_empty_caption_in_a_table_is_a_broken_sample(tmp_path):
    write_folder(tmp_path, 1)
    table = write_table(tmp_path, [("000.png", " ")])
    broken = open_table(table)[0]
    assert isinstance(broken, Broken)
    assert broken.key == f"{table} line 1 (000.png)"
    assert mentions(broken.reason, "caption")


def test_a_folder_has_one_table_or_none(tmp_path):
    assert table_in(tmp_path) is None
    (tmp_path / "metadata.csv").touch()
    assert table_in(tmp_path) == tmp_path / "metadata.csv"
    (tmp_path / "metadata.jsonl").touch()
    with pytest.raises(ValueError, match=naming(tmp_path, "metadata.jsonl", "metadata.csv")):
        table_in(tmp_path)
