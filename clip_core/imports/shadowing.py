"""An import-time check that `converters` is this project's package. Internal.

The name is a common one: a folder `converters` beside a user's script comes before the installed package on the path.
Imports from it would then fail with a missing module.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

_OURS = Path(__file__).parents[2] / "converters"


def check_converters() -> None:
    """Check that `import converters` finds the package installed beside this one.

    Raises:
        ImportError: if another package or module is found first; the message names it.
    """
    loaded = sys.modules.get("converters")
    spec = find_spec("converters") if loaded is None else loaded.__spec__
    if spec is None or not _OURS.is_dir():
        return
    places = [Path(place) for place in spec.submodule_search_locations or [spec.origin or ""]]
    if places and _OURS.resolve() not in {place.resolve() for place in places[:1]}:
        raise ImportError(
            f"expected the package 'converters' of clip-zoo, but {places[0]} comes first on the path; rename it, or "
            "run from another folder"
        )


check_converters()
