"""`clip-zoo formats`: the formats that can be read and written."""

from __future__ import annotations

import json as json_module
from typing import Annotated

from cyclopts import Parameter


def formats(*, json: Annotated[bool, Parameter(negative="")] = False) -> int:
    """List the formats that can be read and written. If a folder contains several, the first in the list is read.

    Parameters
    ----------
    json
        Print a JSON list instead of a table.
    """
    from converters.formats import FORMATS

    rows = [
        {
            "name": format_.name,
            "file": format_.file,
            "other endings": ", ".join(format_.suffixes),
            "written": format_.written,
            "sharded": format_.sharded,
            "libraries": format_.libraries,
        }
        for format_ in FORMATS
    ]
    if json:
        print(json_module.dumps(rows))
        return 0
    lines = [list(rows[0]), *([_cell(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    return 0


def _cell(value: object) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)
