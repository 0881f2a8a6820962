from __future__ import annotations

import numpy as np
import pytest

from clip_core.tasks.search.vectors import candidates, largest, open_vectors, write_vectors
from support.messages import naming
from support.tolerances import ROUNDING


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def clustered() -> np.ndarray:
    random = np.random.default_rng(0)
    centres = random.standard_normal((40, 24))
    return unit(centres[random.integers(0, 40, 3000)] + 0.5 * random.standard_normal((3000, 24)))


def test_written_vectors_are_read_and_rest_is_ignored(tmp_path, clustered):
    path = tmp_path / "vectors"
    write_vectors(path, 0, clustered[:5])
    write_vectors(path, 3, clustered[5:9])
    assert (open_vectors(path, 6, 24) == np.concatenate([clustered[:3], clustered[5:8]])).all()
    assert open_vectors(path, 0, 24).shape == (0, 24)
    with pytest.raises(ValueError, match=naming(str(path), 7 * 24 * 4, 8 * 24 * 4)):
        open_vectors(path, 8, 24)


def test_the_largest_come_first_and_equal_ones_in_order():
    assert largest(np.array([1.0, 3, 2, 3]), 3).tolist() == [1, 3, 2]
    assert largest(np.array([1.0, 3]), 5).tolist() == [1, 0]


def test_some_or_all_vectors_are_compared(clustered):
    query = clustered[0]
    places, scores = candidates(clustered, query)
    assert places.tolist() == list(range(3000))
    assert scores == pytest.approx(clustered @ query, abs=ROUNDING)
    some = np.arange(5, 3000, 7)
    places, scores = candidates(clustered, query, some)
    assert places.tolist() == some.tolist()
    assert scores == pytest.approx(clustered[some] @ query, abs=ROUNDING)
    assert len(candidates(clustered, query, some[:0])[0]) == 0


def test_only_allowed_vectors_are_compared(clustered):
    allowed = np.random.default_rng(1).random(3000) < 0.25
    places, scores = candidates(clustered, clustered[0], None, allowed)
    assert places.tolist() == np.flatnonzero(allowed).tolist()
    assert scores == pytest.approx(clustered[allowed] @ clustered[0], abs=ROUNDING)
    places, _ = candidates(clustered, clustered[0], np.arange(100), allowed)
    assert places.tolist() == np.flatnonzero(allowed[:100]).tolist()
    assert len(candidates(clustered, clustered[0], None, np.zeros(3000, bool))[0]) == 0
