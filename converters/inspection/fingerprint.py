"""A hash of a checkpoint's weights that is the same in every format, and what else is seen in reading them all.

The hash is the SHA-256 of all parameters in the order of their canonical names. Of each it takes the name in UTF-8, a
zero byte, the dtype's name, a zero byte, the lengths of the axes in decimal with commas between them, a zero byte, and
the values in little-endian bytes, the last axis fastest.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from converters.progress import progress
from converters.tensors import in_order

if TYPE_CHECKING:
    from converters.checkpoint import Checkpoint


@dataclass
class Fingerprint:
    """What reading all values tells.

    Attributes:
        sha256: the hash, in hexadecimal.
        not_finite: name to how many of its values are infinite or no numbers, where there are such.
    """

    sha256: str = ""
    not_finite: dict[str, int] = field(default_factory=dict)


def fingerprint(checkpoint: Checkpoint) -> Fingerprint:
    """Read every tensor once, one at a time."""
    found, digest = Fingerprint(), hashlib.sha256()
    with progress(sum(entry.nbytes for entry in checkpoint.entries.values()), "Hashing") as advance:
        for name in sorted(checkpoint):
            array = in_order(checkpoint[name])
            digest.update(f"{name}\0{array.dtype.name}\0{','.join(map(str, array.shape))}\0".encode())
            digest.update(array.reshape(-1).view(np.uint8).data)
            count = array.size - int(np.isfinite(array).sum())
            if count:
                found.not_finite[name] = count
            advance(array.nbytes)
    found.sha256 = digest.hexdigest()
    return found
