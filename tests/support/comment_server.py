"""A server with the comments of a pull request, as GitHub's and GitLab's interfaces have them, in pages of 100."""

from __future__ import annotations

import json
import re
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

TOKEN: Final = "secret-of-the-job"
# Who the token is of.
USER: Final = 7
_PAGE: Final = 100


class CommentServer(ThreadingHTTPServer):
    """Comments by number, what was asked, and the files that were uploaded."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.comments: dict[int, dict[str, Any]] = {}
        self.requests: list[str] = []
        self.uploads: list[bytes] = []
        # GitHub tells the owner of a personal token who that is, and refuses it to the token of a job.
        self.is_personal = False

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def add(self, body: str, *, user: int = USER, kind: str = "Bot") -> int:
        number = len(self.comments) + 1
        author = {"id": user, "type": kind}
        self.comments[number] = {"id": number, "body": body, "user": author, "author": author}
        return number

    @property
    def bodies(self) -> list[str]:
        return [comment["body"] for comment in self.comments.values()]


class _Handler(BaseHTTPRequestHandler):
    server: CommentServer

    def do_GET(self) -> None:
        if self._path == "/user":
            of_job = self.headers["PRIVATE-TOKEN"] is None and not self.server.is_personal
            message = {"message": "Resource not accessible by integration"}
            self._answer(message if of_job else {"id": USER}, status=403 if of_job else 200)
            return
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        page = int(query["page"][0])
        assert query["per_page"] == [str(_PAGE)]
        rows = list(self.server.comments.values())
        pages = -(-len(rows) // _PAGE)
        self._answer(rows[(page - 1) * _PAGE : page * _PAGE], next_page=str(page + 1) if page < pages else "")

    def do_POST(self) -> None:
        if self._path.endswith("/uploads"):
            self.server.uploads.append(self._content)
            self._answer({"url": f"/uploads/{len(self.server.uploads)}/picture.png"})
        else:
            self.server.add(self._body)
            self._answer({})

    def do_PATCH(self) -> None:
        self._update()

    def do_PUT(self) -> None:
        self._update()

    def _update(self) -> None:
        number = int(self._path.rpartition("/")[2])
        self.server.comments[number]["body"] = self._body
        self._answer({})

    @property
    def _path(self) -> str:
        return urllib.parse.urlsplit(self.path).path

    @property
    def _content(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"]))

    @property
    def _body(self) -> str:
        """The text of a comment: JSON for GitHub, a form for GitLab."""
        content = self._content.decode()
        if content.startswith("{"):
            body: str = json.loads(content)["body"]
            return body
        return urllib.parse.parse_qs(content, strict_parsing=True)["body"][0]

    def _answer(self, content: Any, next_page: str = "", status: int = 200) -> None:
        tokens = (self.headers["Authorization"], self.headers["PRIVATE-TOKEN"])
        allowed = f"Bearer {TOKEN}" in tokens or TOKEN in tokens
        self.server.requests.append(f"{self.command} {re.sub(r'[?].*', '', self.path)}")
        data = json.dumps(content if allowed else {"message": "Bad credentials"}).encode()
        self.send_response(status if allowed else 401)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("X-Next-Page", next_page)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Write nothing: the server's log is no part of a test's output."""


@contextmanager
def serving_comments() -> Iterator[CommentServer]:
    """Serve until the end of the block."""
    server = CommentServer()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
