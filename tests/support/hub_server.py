"""A stand-in for the Hugging Face hub on this machine, and a process that uses our code against it.

huggingface_hub reads the hub's address and its offline mode once, on import; so a client is a separate process with its
own environment.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

TOKEN = "hf_let_me_in"  # noqa: S105  of no real hub

_PULL_REQUEST = {
    "num": 1,
    "title": "Upload model",
    "author": {"name": "someone"},
    "isPullRequest": True,
    "status": "open",
    "createdAt": "2024-01-01T00:00:00.000Z",
    "events": [],
    "changes": {"base": "refs/heads/main"},
    "filesWithConflicts": [],
}


class HubServer:
    """Repositories in memory, served as the hub serves them.

    Attributes:
        repositories: repository id to revision to file name to content.
        private: repositories that only `TOKEN` sees.
        gated: repositories whose terms were not accepted.
        requests: "METHOD /path" of each request, in order.
        status: answer every request with this, where it is set.
        breaks_off: close the connection in the middle of each file.
        headers: more headers of each file, which replace the true ones.
        bodies: file name to the content sent for it, in place of the one that its headers describe.
        redirects: send each file from another address, as the hub does with large ones.
        waits: the Retry-After of the next answers, whose status is 429.
        is_silent: accept each connection, and answer nothing.
        pause: seconds between two bytes of a file.
        circle: redirect each request to itself, by this address before the path; "" for a relative one.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, dict[str, bytes]]] = {}
        self.private: set[str] = set()
        self.gated: set[str] = set()
        self.requests: list[str] = []
        self.status: int | None = None
        self.breaks_off = False
        self.headers: dict[str, str] = {}
        self.bodies: dict[str, bytes] = {}
        self.redirects = False
        self.waits: list[str] = []
        self.is_silent = False
        self.pause = 0.0
        self.circle: str | None = None
        self.closing = threading.Event()
        self.commits: list[dict[str, Any]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class HubClient:
    """A process that calls functions of `clip_core.hub` and classmethods of the configurations."""

    def __init__(self, endpoint: str, home: Path, **environment: str) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
        own = {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_PROGRESS_BARS": "1", **environment}
        self._process = subprocess.Popen(
            [sys.executable, __file__], env={**kept, **own}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __call__(self, function: str, *args: Any, **kwargs: Any) -> Any:
        """Return the call's result in JSON's types; an exception comes back as `HubClientError`."""
        self._process.stdin.write(json.dumps([function, args, kwargs]) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise HubClientError(*answer["error"])
        return answer["result"]

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(timeout=30)
        self._process.stdout.close()


class HubClientError(Exception):
    """An error in the client: the exception's type and message."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind
        self.message = message


def error_line(call: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    """Return the type and the message, of one line, of the error that a call through a client has to raise."""
    import pytest  # not in the client's process, which runs this file

    with pytest.raises(HubClientError) as caught:
        call(*args, **kwargs)
    assert "\n" not in caught.value.message
    return str(caught.value)


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        parts = self._start()
        if parts is not None and parts[0] == "cdn":
            self._answer(200, self.hub.bodies[parts[1]])
        elif parts is not None:
            self._get(parts)

    def _get(self, parts: list[str]) -> None:
        if parts[0] == "api":
            repo_id = "/".join(parts[2:4])
            if parts[4:5] == ["discussions"]:
                self._answer_json({**_PULL_REQUEST, "repo": {"name": repo_id, "type": "model"}})
                return
            revision = parts[5] if len(parts) > 5 else "main"
            files = self._files(repo_id, revision)
            if files is not None:
                siblings = [{"rfilename": name} for name in files]
                tree = [{"type": "file", "path": name, "size": len(files[name]), "oid": "0" * 40} for name in files]
                info = {"id": repo_id, "sha": _commit(repo_id, revision), "siblings": siblings, "private": False}
                self._answer_json(tree if "tree" in parts[4:5] else {**info, "tags": [], "downloads": 0, "likes": 0})
            return
        repo_id, revision, name = "/".join(parts[:2]), parts[3], "/".join(parts[4:])
        files = self._files(repo_id, revision)
        if files is None:
            return
        headers = {"X-Repo-Commit": self.hub.headers.get("X-Repo-Commit") or _commit(repo_id, revision)}
        if name not in files:
            self._answer(404, b"", {**headers, "X-Error-Code": "EntryNotFound"})
            return
        etag = f'"{hashlib.sha1(files[name], usedforsecurity=False).hexdigest()}"'
        headers |= {"ETag": etag, "Accept-Ranges": "bytes", **self.hub.headers}
        self._send(name, files[name], headers)

    def _send(self, name: str, content: bytes, headers: dict[str, str]) -> None:
        if self.hub.redirects:
            linked = {"X-Linked-Etag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Linked-Size": str(len(content))}
            self._answer(302, b"", {**linked, **headers, "Location": f"{self.hub.url}/cdn/{name}"})
        else:
            is_true = self.command == "HEAD" or name not in self.hub.bodies
            self._answer(200, content if is_true else self.hub.bodies[name], headers)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = self._start()
        if parts is None:
            return
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._answer(401, b"", {"X-Error-Message": "Invalid username or password."})
        elif parts == ["api", "repos", "create"]:
            asked = json.loads(body)
            repo_id = f"{asked.get('organization') or 'someone'}/{asked['name']}"
            exists = repo_id in self.hub.repositories
            self.hub.repositories.setdefault(repo_id, {"main": {}})
            if asked.get("private") or asked.get("visibility") == "private":
                self.hub.private.add(repo_id)
            self._answer_json({"url": f"{self.hub.url}/{repo_id}"}, 409 if exists else 200)
        elif parts[1] == "models" and parts[4] == "branch":
            revisions = self.hub.repositories["/".join(parts[2:4])]
            exists = parts[5] in revisions
            revisions.setdefault(parts[5], dict(revisions["main"]))
            self._answer_json({}, 409 if exists else 201)
        elif parts[1] == "models" and parts[4] == "discussions":  # newer clients open the pull request first
            revisions = self.hub.repositories["/".join(parts[2:4])]
            revisions["refs/pr/1"] = dict(revisions["main"])
            self._answer_json({"num": 1})
        elif parts[1] == "models" and parts[4] == "preupload":
            files = [{"path": file["path"], "uploadMode": "regular"} for file in json.loads(body)["files"]]
            self._answer_json({"files": [{**file, "shouldIgnore": False} for file in files]})
        elif parts[1] == "models" and parts[4] == "commit":
            self._commit_files("/".join(parts[2:4]), parts[5], body)
        else:
            self._answer_json({})

    def _commit_files(self, repo_id: str, revision: str, body: bytes) -> None:
        files = self.hub.repositories[repo_id][revision]
        for line in body.decode().splitlines():
            row = json.loads(line)
            if row["key"] == "header":
                texts = {name: row["value"][name] for name in ("summary", "description")}
                self.hub.commits.append({"repo_id": repo_id, "revision": revision, **texts})
            elif row["key"] == "file":
                files[row["value"]["path"]] = base64.b64decode(row["value"]["content"])
        commit = _commit(repo_id, revision)
        pull_request = "create_pr=1" in self.path or revision == "refs/pr/1"
        url = {"pullRequestUrl": f"{self.hub.url}/{repo_id}/discussions/1"} if pull_request else {}
        self.hub.commits[-1]["pull_request"] = pull_request
        self._answer_json({"commitUrl": f"{self.hub.url}/{repo_id}/commit/{commit}", "commitOid": commit, **url})

    def _start(self) -> list[str] | None:
        path = urlsplit(self.path).path
        self.hub.requests.append(f"{self.command} {path}")
        if self.hub.is_silent:
            self.hub.closing.wait(20)
            self.close_connection = True
            return None
        if self.hub.waits:
            self._answer(429, b"", {"Retry-After": self.hub.waits.pop(0)})
            return None
        if self.hub.circle is not None:
            self._answer(302, b"", {"Location": f"{self.hub.circle}{path}"})
            return None
        if self.hub.status is not None:
            self._answer(self.hub.status, b"")
            return None
        return [unquote(part) for part in path.strip("/").split("/")]

    def _files(self, repo_id: str, revision: str) -> dict[str, bytes] | None:
        """Return the files, or None where an error was answered."""
        may_see = repo_id not in self.hub.private or self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if repo_id not in self.hub.repositories or not may_see:
            self._answer(401, b"", {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})
            return None
        if repo_id in self.hub.gated:
            self._answer(403, b"", {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted"})
            return None
        revisions = self.hub.repositories[repo_id]
        by_commit = {_commit(repo_id, name): files for name, files in revisions.items()}
        files = {**by_commit, **revisions}.get(revision)
        if files is None:
            self._answer(404, b"", {"X-Error-Code": "RevisionNotFound", "X-Error-Message": "Invalid rev id"})
        return files

    def _answer_json(self, content: Any, status: int = 200) -> None:
        self._answer(status, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.close_connection = self.hub.breaks_off and "ETag" in (headers or {})
            body = body[: len(body) // 2] if self.close_connection else body
            if not self.hub.pause:
                self.wfile.write(body)
                return
            for byte in body:
                self.wfile.write(bytes([byte]))
                self.hub.closing.wait(self.hub.pause)


def _commit(repo_id: str, revision: str) -> str:
    if len(revision) == 40:
        return revision
    return hashlib.sha1(f"{repo_id}@{revision}".encode(), usedforsecurity=False).hexdigest()


def _serve_calls() -> None:
    """Run the client's side: one call a line, `[function, args, kwargs]`; one answer a line."""
    from clip_core import configuration, hub

    slept: list[float] = []
    told: list[str] = []
    time.sleep = slept.append  # huggingface_hub's waits between its attempts to reach a hub that is down, and ours
    handler = logging.Handler()
    handler.emit = lambda record: told.append(record.getMessage())
    logging.getLogger("clip_core").addHandler(handler)
    for line in sys.stdin:
        function, args, kwargs = json.loads(line)
        if function == "waits":
            print(json.dumps({"result": [slept, told]}), flush=True)  # noqa: T201  as below
            del slept[:], told[:]
            continue
        try:
            owner, _, name = function.rpartition(".")
            result = getattr(getattr(configuration, owner) if owner else hub, name)(*args, **kwargs)
            result = result.to_dict() if owner else str(result) if isinstance(result, Path) else result
            answer = {"result": result}
        except Exception as error:  # noqa: BLE001  the test says what it expected
            answer = {"error": [type(error).__name__, str(error)]}
        print(json.dumps(answer), flush=True)  # noqa: T201  the pipe to the test


if __name__ == "__main__":
    _serve_calls()
