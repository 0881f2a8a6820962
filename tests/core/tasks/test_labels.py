"""Cached embeddings: found by content only, and always validated."""

from __future__ import annotations

import numpy as np
import pytest

from clip_core.configuration import CLIPTextConfig
from clip_core.tasks.labels import LabelCache, fingerprint, label_key
from support.messages import naming

EMBEDS = np.eye(3, 4, dtype=np.float32)
KEY = "0" * 64


class Counter:
    """Computes the embeddings, and counts how often."""

    def __init__(self, embeds=EMBEDS):
        self.calls, self._embeds = 0, embeds

    def __call__(self):
        self.calls += 1
        return self._embeds


@pytest.fixture
def compute():
    return Counter()


@pytest.fixture
def kept(tmp_path, compute):
    """The file that an earlier program left."""
    LabelCache(tmp_path).get(KEY, 3, compute)
    return tmp_path / f"labels-{KEY}.npz"


def test_memory_keeps_the_last_few(compute):
    cache = LabelCache()
    for number in [*range(8), 0, 8, 0, 2]:
        assert np.array_equal(cache.get(f"{number}", 3, compute), EMBEDS)
    assert compute.calls == 9  # the ninth replaced the least recently used one
    cache.get("1", 3, compute)
    assert compute.calls == 10


def test_a_folder_keeps_them_for_another_program(kept, compute):
    found = LabelCache(kept.parent).get(KEY, 3, compute)
    assert (found.dtype, compute.calls) == (np.float32, 1)
    assert np.array_equal(found, EMBEDS)
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]


def flipped(content):
    place = content.index(EMBEDS.tobytes())
    return content[:place] + b"\1" + content[place + 1 :]


@pytest.mark.parametrize("damage", [flipped, lambda content: content[:200], lambda content: b"", lambda content: b"PK"])
def test_a_damaged_file_is_named_computed_anew_and_replaced(kept, compute, damage):
    kept.write_bytes(damage(kept.read_bytes()))
    with pytest.warns(UserWarning, match=naming(kept.name)):
        assert np.array_equal(LabelCache(kept.parent).get(KEY, 3, compute), EMBEDS)
    LabelCache(kept.parent).get(KEY, 3, compute)
    assert compute.calls == 2


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ({"key": np.array("1" * 64), "embeds": EMBEDS}, "key"),
        ({"key": np.array(KEY), "embeds": EMBEDS.astype(np.float64)}, "float64"),
        ({"key": np.array(KEY), "embeds": EMBEDS[:2]}, 3),
        ({"key": np.array(KEY), "embeds": 2 * EMBEDS}, "norm"),
        ({"key": np.array(KEY), "embeds": EMBEDS * np.float32("nan")}, "norm"),
        ({"embeds": EMBEDS}, "key"),
        ({"key": np.array(KEY), "embeds": np.array([object()])}, "allow_pickle=False"),
    ],
)
def test_a_file_that_holds_something_else_is_not_believed(kept, compute, content, why):
    np.savez(kept, **content)
    with pytest.warns(UserWarning, match=naming(kept.name, why)):
        LabelCache(kept.parent).get(KEY, 3, compute)
    assert compute.calls == 2


def save_array(path):
    with path.open("wb") as file:  # given a name, numpy would add .npy to it
        np.save(file, EMBEDS)


@pytest.mark.parametrize("write", [lambda path: path.write_bytes(b"x" * 64), save_array])
def test_a_file_of_another_kind_is_not_believed(kept, compute, write):
    write(kept)
    with pytest.warns(UserWarning, match=naming(kept.name, ".npz")) as warned:
        LabelCache(kept.parent).get(KEY, 3, compute)
    assert "allow_pickle" not in str(warned[0].message)
    assert compute.calls == 2


def test_what_no_working_model_computes_is_not_kept(tmp_path):
    broken = Counter(EMBEDS * np.float32("nan"))
    cache = LabelCache(tmp_path)
    for _ in range(2):
        assert np.isnan(cache.get(KEY, 3, broken)).any()
    assert broken.calls == 2
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_loses_nothing(tmp_path, compute, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.warns(UserWarning, match=naming(tmp_path, "No space left")):
        assert np.array_equal(LabelCache(tmp_path).get(KEY, 3, compute), EMBEDS)
    assert not list(tmp_path.iterdir())


def test_a_file_in_the_folders_place_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match=naming(tmp_path / "file")):
        LabelCache(tmp_path / "file")


def tokens(*rows, seq=4):
    ids = np.array([[*row, *[0] * (seq - len(row))] for row in rows])
    return ids, np.array([[1] * len(row) + [0] * (seq - len(row)) for row in rows])


def test_the_key_depends_on_the_tokens_and_on_nothing_around_them():
    key = label_key("a", [tokens([1, 2], [3])], 1)
    assert key == label_key("a", [tokens([1, 2], [3], seq=7)], 1)
    others = [
        label_key("b", [tokens([1, 2], [3])], 1),
        label_key("a", [tokens([1, 2], [3])], 2),
        label_key("a", [tokens([1], [2, 3])], 1),
        label_key("a", [tokens([3], [1, 2])], 1),
        label_key("a", [tokens([1, 2])], 1),
    ]
    assert len({key, *others}) == 6


def test_a_fingerprint_depends_on_every_weight_and_field():
    config, weights = CLIPTextConfig(), {"a": np.arange(6.0).reshape(2, 3), "b": np.float16(2).reshape(())}
    first = fingerprint("numpy", config, weights.items())
    assert first == fingerprint("numpy", CLIPTextConfig(), dict(weights).items())
    changed = np.nextafter(weights["a"], 9.0)
    others = [
        fingerprint("numpy float16", config, weights.items()),
        fingerprint("numpy", CLIPTextConfig(eos_token_id=5), weights.items()),
        fingerprint("numpy", config, {**weights, "a": np.where([[0, 0, 0], [0, 0, 1]], changed, weights["a"])}.items()),
        fingerprint("numpy", config, {**weights, "a": weights["a"].T}.items()),
        fingerprint("numpy", config, {**weights, "c": weights["b"]}.items()),
    ]
    assert len({first, *others}) == 6
