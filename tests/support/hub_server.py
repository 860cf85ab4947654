"""A server on this machine that answers as the Hugging Face hub does, for one repository of a dataset."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import json
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REPOSITORY = "lab/pets"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextlib.contextmanager
def hub_of(directory: Path) -> Iterator[tuple[str, list[str]]]:
    """Serve the files of a directory as the repository; yield the address, and the files that are downloaded."""
    downloaded: list[str] = []

    class Hub(_Hub):
        root = directory
        log = downloaded

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", downloaded
        server.shutdown()


class _Hub(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    root: Path
    log: list[str]

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = urllib.parse.unquote(urllib.parse.urlparse(self.path).path)
        recursive = "recursive=true" in self.path.lower()
        if path.startswith(f"/api/datasets/{REPOSITORY}/tree/{COMMIT}"):
            folder = self.root / path.partition(COMMIT)[2].strip("/")
            if not folder.is_dir():
                return self._answer({}, 404, {"X-Error-Code": "EntryNotFound"})
            entries = sorted(folder.rglob("*") if recursive else folder.iterdir())
            return self._answer(list(map(self._entry, entries)))
        if path.startswith(f"/api/datasets/{REPOSITORY}"):
            files = [{"rfilename": self._name(path)} for path in sorted(self.root.rglob("*")) if path.is_file()]
            return self._answer({"id": REPOSITORY, "sha": COMMIT, "siblings": files, "private": False, "tags": []})
        if path.startswith(f"/datasets/{REPOSITORY}/resolve/{COMMIT}/"):
            return self._send_file(self.root / path.partition(COMMIT)[2].strip("/"))
        return self._answer({}, 404, {})

    def _send_file(self, file: Path) -> None:
        if not file.is_file():
            return self._answer({}, 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
        content, size = file.read_bytes(), file.stat().st_size
        headers = {"ETag": f'"{self._digest(file)}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        requested, status = self.headers.get("Range"), 200
        if requested and self.command == "GET":
            first, _, last = requested.removeprefix("bytes=").partition("-")
            content, status = content[int(first) : int(last or size) + 1], 206
            headers["Content-Range"] = f"bytes {first}-{int(first) + len(content) - 1}/{size}"
        if self.command == "GET":
            self.log.append(self._name(file))
        return self._send(content, status, headers)

    def _answer(self, content: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self._send(json.dumps(content).encode(), status, {"Content-Type": "application/json", **(headers or {})})

    def _send(self, content: bytes, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def _entry(self, path: Path) -> dict[str, object]:
        if path.is_dir():
            return {"type": "directory", "path": self._name(path), "oid": "0" * 40, "size": 0}
        return {"type": "file", "path": self._name(path), "oid": self._digest(path), "size": path.stat().st_size}

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def _digest(self, path: Path) -> str:
        return hashlib.sha1(path.read_bytes()).hexdigest()

    def log_message(self, *arguments: object) -> None:
        """Print nothing."""
