"""Attention masks of every kind, as rows of a batch of texts."""

from __future__ import annotations

BATCH, SEQ = 5, 9
MASKS: dict[str, list[list[int]] | None] = {
    "none": None,
    "right padding": [[1] * n + [0] * (SEQ - n) for n in (9, 4, 1, 7, 2)],
    "left padding": [[0] * (SEQ - n) + [1] * n for n in (9, 4, 1, 7, 2)],
    "a row of padding alone": [[1] * n + [0] * (SEQ - n) for n in (3, 0, 9, 5, 0)],
    "holes": [[1, 0, 1, 1, 0, 0, 1, 1, 0]] * BATCH,
}
