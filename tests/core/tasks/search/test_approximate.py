"""Inverted lists of a large store: a derived file, without which every search compares all vectors."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import sys
import warnings
from errno import EDQUOT, EIO, ENOSPC
from typing import TYPE_CHECKING
from unittest import mock

import faiss
import numpy as np
import pytest

from clip_core.tasks.search import approximate
from clip_core.tasks.search import vectors as vectors_module
from clip_core.tasks.search.approximate import ListsFile
from clip_core.tasks.search.filters import parse_conditions
from clip_core.tasks.search.store import DATABASE, SqliteStore
from support.messages import mentions, naming
from support.search import nearest, numbers, row, unit
from support.tolerances import ROUNDING

if TYPE_CHECKING:
    from pathlib import Path

COUNT, DIM = 3000, 24


@pytest.fixture(scope="module")
def embeds() -> np.ndarray:
    random = np.random.default_rng(0)
    centres = random.standard_normal((40, DIM))
    return unit(centres[random.integers(0, 40, COUNT)] + 0.5 * random.standard_normal((COUNT, DIM)))


@pytest.fixture(scope="module")
def made(tmp_path_factory, embeds) -> Path:
    """A store with lists of all its vectors: 109, of which 16 are read for up to 40 candidates."""
    before, path = faiss.omp_get_max_threads(), tmp_path_factory.mktemp("made") / "index"
    faiss.omp_set_num_threads(1)  # others wait for each other on a busy machine
    with mock.patch.multiple(approximate, WORTH=1000, _OUTSIDE=50, _PROBES=16, _FEW=40):
        store = SqliteStore(path, create=True)
        store.add([row(number) for number in range(COUNT)], embeds)
        store.compact()
        store.close()
        yield path
    faiss.omp_set_num_threads(before)


@pytest.fixture
def folder(made, tmp_path) -> Path:
    return tmp_path / "index"


@pytest.fixture
def store(made, folder):
    """A copy of this store."""
    shutil.copytree(made, folder)
    opened = SqliteStore(folder)
    yield opened
    opened.close()


def recall(store, embeds, queries, where=(), among=None) -> float:
    found = [numbers(store.search(query, 10, where)) for query in queries]
    assert all(len(some) == 10 for some in found)
    pairs = zip(found, queries, strict=True)
    return float(np.mean([len(set(some) & set(nearest(embeds, query, 10, among))) / 10 for some, query in pairs]))


def file_of(store: SqliteStore) -> Path:
    file = ListsFile.of(store.facts())
    return store.folder / file.name


def compared(store, query, count=10, where=()) -> tuple[list[int], int]:
    """Search; return what was found, and the number of vectors that were compared."""
    sizes = []
    among = vectors_module._among

    def counting(places, *others):
        sizes.append(len(places))
        return among(places, *others)

    with mock.patch.object(vectors_module, "_among", counting):
        found = store.search(query, count, where)
    return numbers(found), sum(sizes)


def test_few_vectors_are_compared_and_most_of_the_nearest_found_with_their_own_scores(store, embeds):
    assert recall(store, embeds, embeds[:100]) > 0.95
    found, seen = compared(store, embeds[3])
    assert found == nearest(embeds, embeds[3], 10)
    assert seen == 40
    for one in store.search(embeds[3], 10):
        assert one.score == pytest.approx(float(one.vector @ embeds[3]), abs=ROUNDING)
        assert (one.vector == embeds[one.row.size]).all()
    for query in embeds[:5]:
        assert numbers(store.search(query, 10, exact=True)) == nearest(embeds, query, 10)


def test_all_hits_that_were_asked_for_are_found(store, embeds):
    for count in (100, 1000, COUNT):
        found = numbers(store.search(embeds[0], count))
        assert len(found) == len(set(found)) == count
    assert found == nearest(embeds, embeds[0], COUNT)


def test_vectors_outside_the_lists_are_found_and_added_to_them_once_they_are_many(store, embeds):
    new = unit(np.random.default_rng(5).standard_normal((80, DIM)))
    before = ListsFile.of(store.facts())
    store.add([row(COUNT + place) for place in range(30)], new[:30])
    store.compact()
    assert ListsFile.of(store.facts()) == before
    assert [numbers(store.search(one, 1)) for one in new[:30]] == [[COUNT + place] for place in range(30)]
    store.add([row(COUNT + place) for place in range(30, 80)], new[30:])
    store.compact()
    after = ListsFile.of(store.facts())
    assert (after.count, after.trained) == (COUNT + 80, COUNT)
    assert [path.name for path in store.folder.glob("lists-*")] == [after.name]
    assert [numbers(store.search(one, 1)) for one in new] == [[COUNT + place] for place in range(80)]
    assert compared(store, new[70])[1] == 40


def test_lists_are_trained_again_once_the_vectors_have_doubled(store, embeds):
    more = unit(np.random.default_rng(6).standard_normal((COUNT + 1, DIM)))
    store.add([row(COUNT + place) for place in range(COUNT + 1)], more)
    store.compact()
    assert ListsFile.of(store.facts()).trained == 2 * COUNT + 1


def test_deleted_rows_are_never_found_however_near(store, embeds):
    gone = nearest(embeds, embeds[0], 300)
    store.delete([row(number).path for number in gone])
    kept = np.setdiff1d(np.arange(COUNT), gone)
    assert numbers(store.search(embeds[0], 10)) == nearest(embeds, embeds[0], 10, kept)
    assert recall(store, embeds, embeds[kept[:50]], among=kept) > 0.95


def test_rewritten_vectors_get_new_lists(store, embeds):
    before = file_of(store)
    store.delete([row(number).path for number in range(1000)])
    store.compact()
    assert file_of(store).name != before.name
    assert not before.exists()
    assert ListsFile.of(store.facts()).count == COUNT - 1000
    kept = np.arange(1000, COUNT)
    assert recall(store, embeds, embeds[kept[:50]], among=kept) > 0.95


def test_more_lists_are_read_for_conditions_and_all_vectors_compared_where_few_are_left(store, embeds):
    for where, among in (("size<2000B", range(2000)), ("size>=1500B", range(1500, COUNT))):
        assert recall(store, embeds, embeds[:50], parse_conditions([where]), among) > 0.95
        assert compared(store, embeds[9], where=parse_conditions([where]))[1] == 40
    few = parse_conditions(["size<300B"])
    assert compared(store, embeds[9], where=few) == (nearest(embeds, embeds[9], 10, range(300)), 300)
    assert store.search(embeds[9], 10, parse_conditions(["size>1GB"])) == []


def test_a_small_store_has_no_lists(folder, embeds):
    with_few = SqliteStore(folder, create=True)
    with_few.add([row(number) for number in range(900)], embeds[:900])
    with_few.compact()
    assert not list(folder.glob("lists-*"))
    assert numbers(with_few.search(embeds[0], 10)) == nearest(embeds[:900], embeds[0], 10)
    with_few.close()


def test_without_faiss_all_vectors_are_compared_and_one_line_says_what_to_install(store, folder, embeds):
    expected = [nearest(embeds, query, 10) for query in embeds[:3]]
    with mock.patch.dict(sys.modules, {"faiss": None}):
        other = SqliteStore(folder)
        with pytest.warns(UserWarning, match=naming(str(folder), "faiss", "clip-zoo[search]")) as told:
            assert [numbers(other.search(query, 10)) for query in embeds[:3]] == expected
        assert len(told) == 1
        with pytest.warns(UserWarning, match=naming("clip-zoo[search]")):
            other.compact()  # keeps the lists for those who can read them
        other.close()
    assert file_of(store).exists()


def test_an_index_made_without_faiss_gets_its_lists_by_the_next_run_with_it(folder, embeds):
    store = SqliteStore(folder, create=True)
    store.add([row(number) for number in range(COUNT)], embeds)
    with (
        mock.patch.dict(sys.modules, {"faiss": None}),
        pytest.warns(UserWarning, match=naming("clip-zoo[search]", "clip-zoo index")),
    ):
        store.compact()
    with pytest.warns(UserWarning, match=naming("clip-zoo index")) as told:
        assert numbers(store.search(embeds[0], 10)) == nearest(embeds, embeds[0], 10)
    assert "clip-zoo[search]" not in str(told[0].message)
    store.compact()
    assert compared(store, embeds[0])[1] == 40
    store.close()


@pytest.mark.parametrize("damage", ["missing", "truncated", "changed", "foreign", "another index"])
def test_without_its_own_lists_all_vectors_are_compared_until_the_next_run(store, folder, embeds, damage):
    path = file_of(store)
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "another index":  # with the hash that the database holds
        faiss.write_index(faiss.IndexFlatIP(DIM), str(path))
        database = sqlite3.connect(folder / DATABASE, isolation_level=None)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        facts = {**store.facts()["lists"], "sha256": digest}
        database.execute("UPDATE facts SET value = ? WHERE name = 'lists'", (json.dumps(facts),))
        database.close()
    else:
        damaged = {"truncated": content[:-9], "changed": content[:500] + b"?" + content[501:], "foreign": b"text"}
        path.write_bytes(damaged[damage])
    other = SqliteStore(folder)
    with pytest.warns(UserWarning, match=naming(str(folder), path.name, "clip-zoo index")):
        assert numbers(other.search(embeds[0], 10)) == nearest(embeds, embeds[0], 10)
    other.compact()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert compared(other, embeds[0])[1] == 40
    assert [one.name for one in folder.glob("lists-*")] == [file_of(other).name]
    other.close()


def test_lists_of_another_file_or_place_are_not_opened(store):
    facts = store.facts()
    assert ListsFile.of(facts)
    for changed in ({"vectors": "vectors-9.f32"}, {"name": "../lists-0123456789abcdef.faiss"}, {"more": 1}):
        assert ListsFile.of({**facts, "lists": facts["lists"] | changed}) is None


def test_another_process_searches_while_the_lists_are_replaced(store, folder, embeds):
    other = SqliteStore(folder)
    assert compared(other, embeds[0])[1] == 40
    store.delete([row(number).path for number in range(1000)])
    store.compact()
    kept = range(1000, COUNT)
    assert numbers(other.search(embeds[0], 3)) == nearest(embeds, embeds[0], 3, kept)
    other.close()


def test_files_of_interrupted_runs_are_removed(store, folder, embeds):
    for name in ("vectors-7.f32", "lists-0123456789abcdef.faiss"):
        (folder / name).write_bytes(b"old")
    assert numbers(store.search(embeds[0], 3)) == nearest(embeds, embeds[0], 3)
    store.compact()
    assert sorted(path.name for path in folder.iterdir()) == sorted([DATABASE, "vectors-0.f32", file_of(store).name])


@pytest.mark.parametrize("error", [*(OSError(one, "full") for one in (ENOSPC, EDQUOT, EIO)), KeyboardInterrupt()])
def test_an_interrupted_or_failed_write_leaves_no_file(store, folder, embeds, error):
    path = file_of(store)
    store.add([row(COUNT + place) for place in range(60)], unit(np.random.default_rng(5).standard_normal((60, DIM))))

    def fail(index, writer):
        writer(b"half")
        raise error

    # faiss passes an error of the writer on; a patch makes it certain that a part was written.
    with (
        mock.patch.object(faiss, "PyCallbackIOWriter", lambda write: write),
        mock.patch.object(faiss, "write_index", fail),
        pytest.raises(type(error)) as told,
    ):
        store.compact()
    assert mentions(str(told.value), "space") == (getattr(error, "errno", None) in {ENOSPC, EDQUOT})
    assert [one.name for one in folder.glob("lists-*")] == [path.name]
    assert compared(store, embeds[0])[0] == nearest(embeds, embeds[0], 10)


def test_a_kill_at_any_step_leaves_lists_that_can_be_searched(store, folder, embeds, tmp_path):
    new = unit(np.random.default_rng(5).standard_normal((60, DIM)))
    store.add([row(COUNT + place) for place in range(60)], new)
    write, remove, copies = approximate._written, SqliteStore._remove_old, []

    def copied() -> None:
        copies.append(tmp_path / f"copy-{len(copies)}")
        shutil.copytree(folder, copies[-1])

    def writing(index, path):
        path.write_bytes(b"half")
        copied()
        path.unlink()
        digest = write(index, path)
        copied()
        return digest

    def removing(self):
        copied()
        remove(self)

    with mock.patch.object(approximate, "_written", writing), mock.patch.object(SqliteStore, "_remove_old", removing):
        store.compact()
    assert [len(list(copy.glob("lists-*"))) for copy in copies] == [2, 2, 2]
    for copy in copies:
        other = SqliteStore(copy)
        for query in (embeds[0], new[3]):
            found, seen = compared(other, query)
            assert found == nearest(np.concatenate([embeds, new]), query, 10)
            assert seen <= 40 + 60
        other.compact()
        assert [path.name for path in copy.glob("lists-*")] == [file_of(other).name]
        assert ListsFile.of(other.facts()).count == COUNT + 60
        other.close()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems accept only names of valid text")
def test_the_folder_may_have_any_name(tmp_path, folder, embeds):
    store = SqliteStore(folder.parent / "\udcff", create=True)
    store.add([row(number) for number in range(COUNT)], embeds)
    store.compact()
    assert compared(store, embeds[0])[1] == 40
    store.close()
