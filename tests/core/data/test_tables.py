"""Tables of file names and captions, and errors with file and line."""

from __future__ import annotations

import pytest

from clip_core.data.tables import read_table
from support.messages import naming


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("metadata.jsonl", '{"file_name": "a.png", "text": "a, cat"}\n\n{"file_name": "b.png", "text": "b"}\n'),
        ("metadata.csv", 'file_name,text\na.png,"a, cat"\n\nb.png,b\n'),
        ("metadata.tsv", "file_name\ttext\r\na.png\ta, cat\r\n\r\nb.png\tb\r\n"),
        ("metadata.csv", '\ufefffile_name,text\na.png,"a, cat"\n\nb.png,b'),
    ],
)
def test_every_kind_of_table_gives_the_same_rows(tmp_path, name, text):
    path = tmp_path / name
    path.write_bytes(text.encode())
    rows = read_table(path)
    assert [(row.file_name, row.caption) for row in rows] == [("a.png", "a, cat"), ("b.png", "b")]
    assert rows[1].line - rows[0].line == 2


def test_columns_of_other_names_are_given(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("filepath,title\na.png,a cat\n")
    assert read_table(path, "filepath", "title") == [(2, "a.png", "a cat")]


def test_the_usual_names_of_captions_are_known(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text('{"file_name": "a.png", "captions": ["one", "two"]}')
    assert read_table(path)[0].caption == ["one", "two"]


@pytest.mark.parametrize(
    ("name", "text", "named"),
    [
        ("t.csv", "name,text\na.png,a\n", ["line 2", "'file_name'", "'name'", "'text'"]),
        (
            "t.csv",
            "file_name,label\na,b\n",
            ["line 2", "'text'", "'caption'", "'label'", "caption_column"],
        ),
        ("t.csv", "file_name,text\na.png,a,b\n", ["line 2", 3]),
        ("t.csv", 'file_name,text\na.png,"a\n', ["line 2", "CSV"]),
        ("t.csv", "file_name,text\n,a\n", ["line 2", "''"]),
        ("t.jsonl", '{"file_name": "a", "text": "a"}\n{"file_name"', ["line 2", "JSON"]),
        ("t.jsonl", "[1]\n", ["line 1", "file_name"]),
        ("t.jsonl", '{"file_name": 3, "text": "a"}\n', ["line 1", 3]),
    ],
)
def test_what_is_wrong_is_told_by_file_and_line(tmp_path, name, text, named):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ValueError, match=naming(path, *named)):
        read_table(path)


def test_a_table_in_another_encoding_or_none_is_told(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes("file_name,text\na.png,Käse\n".encode("latin-1"))
    with pytest.raises(ValueError, match=naming(path, "UTF-8")):
        read_table(path)
    with pytest.raises(ValueError, match=naming(tmp_path / "gone.csv")):
        read_table(tmp_path / "gone.csv")
