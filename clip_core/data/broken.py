"""Samples that cannot be used: counted, told, and too many of them are an error."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from clip_core.data.pairs import Broken

_SHOWN = 5
_logger = logging.getLogger(__name__)


class BrokenSamplesError(ValueError):
    """There are more broken samples than were allowed; the message lists the first."""


class BrokenSamples:
    """The broken samples of an epoch.

    Args:
        limit: how many are skipped.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.samples: list[Broken] = []
        self._told: set[str] = set()

    def add(self, sample: Broken) -> None:
        """Count one, and log it if it was not logged before.

        Raises:
            BrokenSamplesError: it is one too many.
        """
        self.samples.append(sample)
        if len(self.samples) > self.limit:
            first = "".join(f"\n  {broken.key}: {broken.reason}" for broken in self.samples[:_SHOWN])
            more = "\n  ..." * (len(self.samples) > _SHOWN)
            raise BrokenSamplesError(
                f"{len(self.samples)} samples are broken, and max_broken={self.limit}; the first:{first}{more}"
            )
        if sample.key not in self._told:
            self._told.add(sample.key)
            _logger.warning("skipped %s: %s", sample.key, sample.reason)

    def reset(self, samples: Iterable[Broken] = ()) -> None:
        """Begin an epoch, or go on with one that has had these."""
        self.samples = list(samples)
