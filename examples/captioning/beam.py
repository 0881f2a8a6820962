"""Beam search with a length penalty (Wu et al. 2016, section 7), over any model of sequences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence


class SequenceModel(Protocol):
    """A model that continues sequences, one id at a time."""

    def advance(self, state: Any, parents: Sequence[int], words: Sequence[int]) -> tuple[np.ndarray, Any]:
        """Append a word to each of the parents.

        Args:
            state: the state of the sequences.
            parents: the rows to continue.
            words: the ids to append to them.

        Returns:
            Log probabilities of the next id `(len(parents), ids)`, and the new state.
        """
        ...


class Hypothesis(NamedTuple):
    """A complete sequence.

    Attributes:
        ids: its ids, without the end.
        score: its log probability, the end's included, divided by the length penalty.
    """

    ids: tuple[int, ...]
    score: float


def penalty(length: int, exponent: float) -> float:
    """Return what a log probability is divided by, `((5 + length) / 6) ** exponent`; 1 for the exponent 0.

    Args:
        length: number of ids, with the end.
        exponent: the larger, the more long sequences are favoured.
    """
    return float(((5 + length) / 6) ** exponent)


def beam_search(
    model: SequenceModel,
    log_probs: np.ndarray,
    state: Any,
    *,
    end: int,
    longest: int,
    beams: int = 5,
    exponent: float = 0.0,
) -> list[Hypothesis]:
    """Return the best complete sequences found, best first; at most `beams`.

    The search ends when no unfinished sequence can still enter the result. With as many beams as there are sequences,
    the result is exact.

    Args:
        model: continues sequences.
        log_probs: of the first id, `(1, ids)`.
        state: the state before it.
        end: the id that ends a sequence.
        longest: most ids of a sequence, with the end; a sequence that reaches it is ended there.
        beams: sequences to continue at a time.
        exponent: exponent of the length penalty, at least 0.
    """
    finished: list[Hypothesis] = []
    sequences: list[tuple[int, ...]] = [()]
    scores = np.zeros(1)
    for length in range(1, longest + 1):
        total = scores[:, None] + log_probs
        finished += [
            Hypothesis(sequence, float(score) / penalty(length, exponent))
            for sequence, score in zip(sequences, total[:, end], strict=True)
        ]
        finished = sorted(finished, key=lambda one: -one.score)[:beams]
        total[:, end] = -np.inf
        best = np.argsort(-total, axis=None, kind="stable")[:beams]
        # Further ids only lower a log probability, so a sequence is hopeless if the largest penalty does not save it.
        least = finished[-1].score if len(finished) == beams else -np.inf
        best = best[total.flat[best] / penalty(longest, exponent) > least]
        if length == longest or not len(best):
            break
        parents, words = np.unravel_index(best, total.shape)
        sequences = [(*sequences[parent], int(word)) for parent, word in zip(parents, words, strict=True)]
        scores = total.flat[best]
        log_probs, state = model.advance(state, parents.tolist(), words.tolist())
    return finished
