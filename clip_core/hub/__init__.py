"""Model files: reading and writing local folders and files, and repositories on the Hugging Face hub.

The names in `__all__` are public; the modules are internal.
"""

from __future__ import annotations

from clip_core.hub.options import HubOptions, split_hub_options
from clip_core.hub.repository import upload_folder
from clip_core.hub.sources import check_file_name, find_file, list_files, require_file

__all__ = [
    "HubOptions",
    "check_file_name",
    "find_file",
    "list_files",
    "require_file",
    "split_hub_options",
    "upload_folder",
]
