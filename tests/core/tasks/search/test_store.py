from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from clip_core.tasks.search.filters import parse_conditions
from clip_core.tasks.search.rows import IndexedImage
from clip_core.tasks.search.store import DATABASE, SqliteStore
from support.messages import naming


def row(number: int, **changes: object) -> IndexedImage:
    return IndexedImage(b"/p/%04d.jpg" % number, number, 0, "2024-01-01T00:00:00", b"f", b"p", 1, 1)._replace(**changes)


def vectors(count: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, 8)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def store(tmp_path):
    made = SqliteStore(tmp_path / "index", create=True)
    yield made
    made.close()


def numbers(found) -> list[int]:
    return [one.row.size for one in found]


def test_rows_are_found_by_their_vectors_best_first(store):
    embeds = vectors(100)
    store.add([row(number) for number in range(60)], embeds[:60])
    store.add([row(number) for number in range(60, 100)], embeds[60:])
    expected = np.argsort(-(embeds @ embeds[7]))[:5].tolist()
    found = store.search(embeds[7], 5)
    assert numbers(found) == expected
    assert found[0].row == row(7)
    assert (found[0].vector == embeds[7]).all()
    assert len(store.search(embeds[7], 500)) == len(store) == 100


@pytest.mark.parametrize("query", [np.ones(7), np.ones((1, 8)), np.full(8, np.nan)])
def test_a_query_that_is_no_embedding_is_refused(store, query):
    store.add([row(0)], vectors(1))
    with pytest.raises(ValueError, match="query"):
        store.search(query, 1)


def test_a_closed_store_says_so_and_not_that_it_is_damaged(tmp_path):
    store = SqliteStore(tmp_path / "index", create=True)
    store.close()
    for act in (store.__len__, store.facts, store.rows, lambda: store.add([row(0)], vectors(1))):
        with pytest.raises(ValueError, match=naming("index.sqlite", "closed")):
            act()


def test_a_path_is_stored_once_and_its_last_vector_counts(store):
    embeds = vectors(3)
    store.add([row(0), row(1)], embeds[:2])
    store.add([row(0, caption="new")], embeds[2:])
    assert len(store) == 2
    assert store.search(embeds[2], 1)[0].row.caption == "new"
    assert all((one.vector != embeds[0]).any() for one in store.search(embeds[0], 9))


def test_deleted_rows_are_never_found_however_near(store):
    embeds = vectors(100)
    store.add([row(number) for number in range(100)], embeds)
    nearest = np.argsort(-(embeds @ embeds[0]))
    assert store.delete([row(int(number)).path for number in nearest[:90]] + [b"/absent"]) == 90
    assert numbers(store.search(embeds[0], 3)) == nearest[90:93].tolist()


def test_conditions_are_applied_before_the_nearest_are_chosen(store):
    embeds = vectors(100)
    store.add([row(number) for number in range(100)], embeds)
    nearest = [number for number in np.argsort(-(embeds @ embeds[0])).tolist() if number < 20]
    assert numbers(store.search(embeds[0], 4, parse_conditions(["size<20"]))) == nearest[:4]
    assert store.search(embeds[0], 4, parse_conditions(["size>1GB"])) == []
    both = parse_conditions(["size<20", "size!=0", "folder!=/p/0003.jpg"])
    assert numbers(store.search(embeds[0], 99, both)) == [number for number in nearest if number]


def test_a_condition_reads_the_index_of_its_column_alone(store):
    store.add([row(0)], vectors(1))
    for text in ("size<2MB", "size!=3", "date>=2024", "date!=2024", "folder=/p", "folder!=/p"):
        (condition,) = parse_conditions([text])
        plan = f"EXPLAIN QUERY PLAN SELECT group_concat(place) FROM images WHERE {condition.sql}"  # noqa: S608
        ((*_, told),) = store._database.execute(plan, condition.values)
        assert "COVERING INDEX" in told


def test_an_older_store_without_these_indexes_is_searched_and_given_them(store, tmp_path):
    store.add([row(number) for number in range(9)], vectors(9))
    store._database.executescript("DROP INDEX images_size; DROP INDEX images_taken;")
    where = parse_conditions(["size<3", "date=2024"])
    for create in (False, True):
        other = SqliteStore(tmp_path / "index", create=create)
        assert sorted(numbers(other.search(vectors(9)[0], 9, where))) == [0, 1, 2]
        names = {name for (name,) in other._database.execute("SELECT name FROM sqlite_master WHERE type = 'index'")}
        assert ({"images_size", "images_taken"} <= names) == create
        other.close()


def test_compacting_drops_deleted_vectors_and_changes_no_result(store, tmp_path):
    embeds = vectors(100)
    store.add([row(number) for number in range(100)], embeds)
    store.delete([row(number).path for number in range(0, 100, 2)])
    before = numbers(store.search(embeds[1], 20))
    other = SqliteStore(tmp_path / "index")  # as another process, which has the old file open
    assert numbers(other.search(embeds[1], 20)) == before
    store.compact()
    assert [path.stat().st_size for path in (tmp_path / "index").glob("vectors-*")] == [50 * 8 * 4]
    assert numbers(store.search(embeds[1], 20)) == numbers(other.search(embeds[1], 20)) == before
    store.add([row(0)], embeds[:1])
    assert numbers(other.search(embeds[0], 1)) == [0]
    other.close()


def test_a_failed_write_leaves_the_store_as_it_was(store):
    embeds = vectors(4)
    store.add([row(0)], embeds[:1])
    with pytest.raises(ValueError, match=naming(8, 3)):
        store.add([row(1)], np.ones((1, 3), np.float32))
    with pytest.raises((ValueError, OSError)):
        store.add([row(2), row(3, size=None)], embeds[2:])
    assert numbers(store.search(embeds[0], 9)) == [0]
    store.add([row(1)], embeds[1:2])
    assert numbers(store.search(embeds[1], 1)) == [1]


def test_vectors_without_rows_are_overwritten(store, tmp_path):
    embeds = vectors(4)
    store.add([row(0)], embeds[:1])
    with (tmp_path / "index/vectors-0.f32").open("ab") as file:
        file.write(b"half a vector")
    store.add([row(1)], embeds[1:2])
    assert numbers(store.search(embeds[1], 1)) == [1]


def test_a_second_writer_waits_for_the_first(store, tmp_path):
    other = SqliteStore(tmp_path / "index")
    embeds = vectors(4)
    for number, writer in enumerate((store, other, store, other)):
        writer.add([row(number)], embeds[number : number + 1])
    assert [numbers(store.search(embed, 1)) for embed in embeds] == [[0], [1], [2], [3]]
    other.close()


def test_an_empty_store_is_removed_and_no_other_and_whoever_has_it_open_is_told(tmp_path):
    embeds = vectors(2)
    first, second = (SqliteStore(tmp_path / "new", create=True) for _ in range(2))
    first.remove_if_empty()
    assert list((tmp_path / "new").iterdir()) == []
    with pytest.raises(OSError, match=naming(tmp_path / "new/index.sqlite")):
        second.add([row(0)], embeds[:1])  # nothing would be left of it
    third = SqliteStore(tmp_path / "new", create=True)
    with pytest.raises(OSError, match=naming(tmp_path / "new/index.sqlite")):
        second.set_facts(dim=8)
    third.add([row(1)], embeds[1:])
    third.remove_if_empty()
    assert numbers(third.search(embeds[1], 1)) == [1]
    for one in (first, second, third):
        one.close()


def test_threads_that_search_at_once_get_the_same(store):
    embeds = vectors(2000)
    store.add([row(number) for number in range(2000)], embeds)
    expected = [numbers(store.search(one, 5)) for one in embeds[:40]]
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda one: numbers(store.search(one, 5)), np.tile(embeds[:40], (5, 1)))
        assert list(found) == expected * 5


def test_facts_are_kept(store):
    store.set_facts(model="a", versions={"torch": "2"})
    assert store.facts() == {"model": "a", "versions": {"torch": "2"}}


def test_damage_is_reported_by_file(store, tmp_path):
    store.add([row(0), row(1)], vectors(2))
    file = tmp_path / "index/vectors-0.f32"
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(ValueError, match=naming(str(file))):
        SqliteStore(tmp_path / "index").search(vectors(1)[0], 1)
    for content in (b"no database, but text of some length " * 99, b""):
        (tmp_path / "index" / DATABASE).write_bytes(content)
        with pytest.raises(ValueError, match=naming(DATABASE)):
            SqliteStore(tmp_path / "index")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dim", '"x"'),
        ("dim", "0"),
        ("end", "1e9"),
        ("end", "-1"),
        ("vectors", '"../../secret.f32"'),
        ("vectors", "3"),
        ("preprocessing", "{"),
        ("preprocessing", "[" * 100_000),
        ("fingerprint", "[1]"),
        ("fingerprint", "[[1.0], []]"),
        ("model", "3"),
    ],
)
def test_a_damaged_fact_is_reported_and_no_file_outside_is_opened(store, tmp_path, name, value):
    (tmp_path.parent / "secret.f32").write_bytes(bytes(1000))
    store.add([row(1)], vectors(1))
    with sqlite3.connect(tmp_path / "index" / DATABASE) as database:
        database.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))
    database.close()
    uses = [store.facts]
    if name in {"dim", "end", "vectors"}:
        uses += [lambda: store.search(vectors(1)[0], 1), lambda: store.add([row(2)], vectors(1)), store.compact]
    for use in uses:
        with pytest.raises(ValueError, match=naming(tmp_path / "index" / DATABASE)) as refused:
            use()
        assert len(str(refused.value)) < 1000
    assert (tmp_path.parent / "secret.f32").read_bytes() == bytes(1000)


def test_only_an_index_or_an_empty_folder_is_opened(tmp_path):
    with pytest.raises(FileNotFoundError, match=naming(str(tmp_path))):
        SqliteStore(tmp_path)
    (tmp_path / "a.jpg").touch()
    with pytest.raises(FileExistsError, match=naming(str(tmp_path))):
        SqliteStore(tmp_path, create=True)
    with pytest.raises(NotADirectoryError, match=naming("a.jpg")):
        SqliteStore(tmp_path / "a.jpg", create=True)
    sqlite3.connect(tmp_path / DATABASE).close()  # a database without our tables
    with pytest.raises((ValueError, OSError), match=naming(DATABASE)):
        SqliteStore(tmp_path)
