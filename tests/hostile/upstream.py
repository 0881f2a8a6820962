"""Reproduce faults of huggingface_hub, which alone it needs: python tests/hostile/upstream.py

A server on this machine stands in for the hub. One line is printed for each fault: "holds" if this release has it. The
report is in docs/trust.md; clip_core/hub/arrival.py keeps the faults from our users.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ANNOUNCED, SENT = b"announced", b"different"  # of one length
SHA256 = hashlib.sha256(ANNOUNCED).hexdigest()


class Hub(BaseHTTPRequestHandler):
    """The hub, whose answers the class attributes choose."""

    etag = f'"{SHA256}"'
    commit = "0" * 40
    body = SENT
    size = len(ANNOUNCED)
    exists = True

    def do_HEAD(self) -> None:
        """Announce a large file, as the hub does with files of Git LFS."""
        if not self.exists:
            self._answer({"X-Error-Code": "EntryNotFound", "X-Repo-Commit": self.commit, "Content-Length": "0"}, 404)
            return
        linked = {"X-Linked-Etag": self.etag, "X-Linked-Size": str(self.size)}
        self._answer({"ETag": self.etag, **linked, "X-Repo-Commit": self.commit, "Content-Length": str(self.size)})

    def do_GET(self) -> None:
        """Send it."""
        self._answer({"ETag": self.etag, "X-Repo-Commit": self.commit, "Content-Length": str(len(self.body))})
        self.wfile.write(self.body)

    def _answer(self, headers: dict[str, str], status: int = 200) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


def cached(home: Path, **answer: Any) -> bytes | None:
    """Download a file from a hub that answers so, and return what a call without a network then reads, if anything."""
    from huggingface_hub import hf_hub_download

    hub = type("Answering", (Hub,), answer)
    server = ThreadingHTTPServer(("127.0.0.1", 0), hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    where = {"repo_id": "some/model", "filename": "model.safetensors", "cache_dir": home / "cache"}
    try:
        hf_hub_download(**where, endpoint=f"http://127.0.0.1:{server.server_port}")
        return Path(hf_hub_download(**where, local_files_only=True)).read_bytes()
    except Exception as error:  # noqa: BLE001  a release that refuses may raise anything
        print(f"  refused: {type(error).__name__}", file=sys.stderr)  # noqa: T201
        return None
    finally:
        server.shutdown()
        server.server_close()


def main(home: Path) -> None:
    """Try each fault, and print a line for it."""
    os.environ |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1"}
    import huggingface_hub

    found = {
        "a body with another sha256 is cached": cached(home / "hash") == SENT,
        "a body with another size is cached": cached(home / "size", body=SENT * 2) == SENT * 2,
    }
    for place, answer in (
        ("an ETag", {"etag": '"../../../../escaped"'}),
        ("the commit of a file", {"commit": "../../../../escaped"}),
        ("the commit of a missing file", {"commit": "../../../../escaped", "exists": False}),
    ):
        cached(home / place / "inner", **answer)
        found[f"../../.. as {place} writes outside the cache"] = any((home / place).glob("escaped*"))
    print(f"huggingface_hub {huggingface_hub.__version__}")  # noqa: T201
    for fault, holds in found.items():
        print(f"{'holds' if holds else 'does not hold':14} {fault}")  # noqa: T201


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder))
