"""A stand-in for a model hub: a threaded HTTP server on loopback that serves local folders as repositories.

    with HubStandIn({"models/google-bert/bert-base-uncased@86b5e0934494bd15c9632b12f734a8a67f723594": folder}) as hub:
        subprocess.run(command, env={**os.environ, **hub.environment(cache)})

It speaks as much of the hub's HTTP interface as snapshot_download, from_pretrained and load_dataset use: repository
and revision information, file trees, HEAD and GET of files with ETag, X-Repo-Commit and Range.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

_API = re.compile(r"/api/(models|datasets)/([^/]+/[^/]+)(?:/(revision|tree|paths-info|refs)(?:/([^/]+))?(?:/(.*))?)?/?")
_FILE = re.compile(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)")


class HubStandIn:
    """Serves ``{"models/OWNER/NAME[@COMMIT]" or "datasets/OWNER/NAME[@COMMIT]": folder}``.

    A repository without a commit gets one from its content; "main" and the commit are its revisions. ``requests``
    keeps "METHOD path" of every request, so that a test can see that none was made.
    """

    def __init__(self, repositories: Mapping[str, str | Path]) -> None:
        self.folders: dict[str, Path] = {}
        self.commits: dict[str, str] = {}
        for key, folder in repositories.items():
            name, _, commit = key.partition("@")
            self.folders[name] = Path(folder)
            self.commits[name] = commit or _content_commit(Path(folder))
        self.requests: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def environment(self, cache: str | Path) -> dict[str, str]:
        """Variables for a subprocess that shall use this hub, with its own cache folder."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(cache),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }

    def start(self) -> HubStandIn:
        self._thread.start()
        return self

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> HubStandIn:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop()


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _content_commit(folder: Path) -> str:
    digest = hashlib.sha1()
    for path in _files(folder):
        digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def _etag(path: Path) -> str:
    return hashlib.sha1(path.read_bytes()).hexdigest()


def _handler(hub: HubStandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self._answer()

        def _answer(self) -> None:
            path = unquote(urlsplit(self.path).path)
            self.recursive = "recursive=true" in self.path.lower()
            hub.requests.append(f"{self.command} {path}")
            file = _FILE.fullmatch(path)
            if file:
                kind, name, revision, inside = file.groups()
                self._file("datasets/" + name if kind else "models/" + name, revision, inside)
                return
            api = _API.fullmatch(path)
            if api:
                self._api(*api.groups())
                return
            self._send(404, {"error": "no such page"})

        def _known(self, repository: str, revision: str | None) -> bool:
            if repository not in hub.folders:
                self._send(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
                return False
            if revision not in (None, "main", hub.commits[repository]):
                self._send(404, {"error": "Invalid rev id"}, {"X-Error-Code": "RevisionNotFound"})
                return False
            return True

        def _api(self, kind: str, name: str, what: str | None, revision: str | None, inside: str | None) -> None:
            repository = f"{kind}/{name}"
            if not self._known(repository, revision):
                return
            folder, commit = hub.folders[repository], hub.commits[repository]
            names = [path.relative_to(folder).as_posix() for path in _files(folder)]
            commit_header = {"X-Repo-Commit": commit}
            if what == "refs":
                branch = {"name": "main", "ref": "refs/heads/main", "targetCommit": commit}
                self._send(200, {"branches": [branch], "tags": [], "converts": []})
            elif what in ("tree", "paths-info"):
                below = [n for n in names if not inside or n == inside or n.startswith(inside + "/")]
                if inside and not below:
                    self._send(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound", **commit_header})
                    return
                depth = len(inside.split("/")) + 1 if inside else 1
                cut = below if self.recursive else list(dict.fromkeys("/".join(n.split("/")[:depth]) for n in below))
                self._send(200, [self._tree_entry(folder, n) for n in cut], commit_header)
            else:
                siblings = [{"rfilename": n} for n in names]
                self._send(200, {"_id": commit[:24], "id": name, "modelId": name, "sha": commit, "siblings": siblings,
                                 "private": False, "gated": False, "disabled": False, "tags": [], "downloads": 0,
                                 "likes": 0, "lastModified": "2024-01-01T00:00:00.000Z"})  # fmt: skip

        def _tree_entry(self, folder: Path, name: str) -> dict[str, Any]:
            path = folder / name
            if path.is_dir():
                return {"type": "directory", "oid": hashlib.sha1(name.encode()).hexdigest(), "size": 0, "path": name}
            return {"type": "file", "oid": _etag(path), "size": path.stat().st_size, "path": name}

        def _file(self, repository: str, revision: str, inside: str) -> None:
            if not self._known(repository, revision):
                return
            path = hub.folders[repository] / inside
            commit = {"X-Repo-Commit": hub.commits[repository]}
            if ".." in Path(inside).parts or not path.is_file():
                self._send(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound", **commit})
                return
            data = path.read_bytes()
            headers = {"ETag": f'"{_etag(path)}"', "Accept-Ranges": "bytes", **commit}
            wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
            if wanted is None:
                self._send(200, data, headers)
                return
            start, end = int(wanted[1]), min(int(wanted[2] or len(data) - 1), len(data) - 1)
            headers["Content-Range"] = f"bytes {start}-{end}/{len(data)}"
            self._send(206, data[start : end + 1], headers)

        def _send(self, status: int, content: Any, headers: Mapping[str, str] | None = None) -> None:
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            kind = "application/octet-stream" if isinstance(content, bytes) else "application/json"
            for name, value in {"Content-Type": kind, "Content-Length": str(len(data)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

    return Handler
