"""`benchkit explore RUN…`: the explorer as a page, for the browser of this computer only.

Replies are untrusted. They leave here as JSON in which nothing hides or reorders (`text.visible`), the page
puts them into place as text, and its policy allows no script but its own. Files are named by the row of a result,
never by a path. Other web pages are kept out by the Host header (DNS rebinding), the Origin, and what browsers say
of the sender.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
import webbrowser
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from benchkit import explore, pages
from benchkit.errors import BenchkitError
from benchkit.serve import HOST, is_this_computer
from benchkit.text import one_line

PORT = 8900
MAX_ADDRESS = 16_000  # characters: a long list of chosen names fits
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
#: Files of the page: address → the file among the templates, and its kind.
FILES = {"/report.css": ("report.css", "text/css"), "/explore.css": ("explore.css", "text/css"),
         "/explore.js": ("explore.js", "text/javascript")}  # fmt: skip
KINDS = {".csv": "text/csv", ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"}

Query = Mapping[str, Sequence[str]]


class Refused(Exception):
    """A request that is not answered, with its status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


# ---------------------------------------------------------------- what is asked


def answer(explorer: explore.Explorer, path: str, query: Query) -> Any:
    """The answer to one address below /api/, as a value for JSON."""
    if path == "/api/state":
        return explorer.state()
    if path == "/api/read":
        explorer.read()
        return explorer.state()
    if path not in QUESTIONS:
        raise Refused(404, "there is no such address")
    return QUESTIONS[path](explorer, _loaded(explorer, query), query)


def _loaded(explorer: explore.Explorer, query: Query) -> explore.Loaded:
    """The results, of the reading that the page knows: row numbers of another one mean other results."""
    if explorer.loaded is None:
        raise Refused(503, explorer.message or "the results are still being read")
    if "number" in query and _whole(query, "number") != explorer.loaded.number:
        raise Refused(409, "the results were read again meanwhile")
    return explorer.loaded


def _whole(query: Query, name: str, otherwise: int | None = None) -> int:
    text = query.get(name, [""])[0]
    if not text and otherwise is not None:
        return otherwise
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise BenchkitError(f"{name}={one_line(text, 40)}: a whole number is needed.")
    return int(text)


def _chosen(query: Query) -> explore.Chosen:
    return explore.Chosen.from_query(query)


QUESTIONS = {
    "/api/about": lambda e, loaded, q: {**explore.about(loaded), "number": loaded.number},
    "/api/results": lambda e, loaded, q: explore.results_page(loaded, _chosen(q), _whole(q, "page", 1)),
    "/api/summary": lambda e, loaded, q: explore.summary(loaded, _chosen(q), e.slowly),
    "/api/points": lambda e, loaded, q: explore.points(loaded, _chosen(q), q.get("y", ["latency_s"])[0]),
    "/api/reply": lambda e, loaded, q: explore.reply(loaded, _whole(q, "row")),
    "/api/artifact": lambda e, loaded, q: explore.artifact(loaded, _whole(q, "row")),
    "/api/two": lambda e, loaded, q: explore.side_by_side(loaded, _whole(q, "a"), _whole(q, "b")),
}


# ---------------------------------------------------------------- HTTP


class Handler(BaseHTTPRequestHandler):
    """One request. Only GET and HEAD are understood; what changes nothing needs no other."""

    server_version, sys_version = "benchkit", ""
    timeout = 60.0  # seconds that a client may take
    server: Server

    def do_GET(self) -> None:
        """Answer, or say why not."""
        try:
            self._check_sender()
            self._route()
        except Refused as refusal:
            self._send_json({"error": str(refusal)}, refusal.status)
        except BenchkitError as error:
            self._send_json({"error": str(error)}, 400)
        except (ConnectionError, TimeoutError):  # the browser broke off
            pass
        except Exception as problem:  # a mistake of ours: the page hears of it, and the server goes on
            traceback.print_exc()
            self._send_json(
                {"error": f"a mistake in benchkit, please report it: {type(problem).__name__}"}, 500
            )

    do_HEAD = do_GET

    def _check_sender(self) -> None:
        """Only programs of this computer and this very page: no page from elsewhere, whatever its name."""
        hosts = self.headers.get_all("Host", [])
        if len(hosts) != 1 or not is_this_computer(hosts[0]):
            raise Refused(403, "this page is for this computer only: open it as localhost or 127.0.0.1")
        origin, site = self.headers.get("Origin"), self.headers.get("Sec-Fetch-Site", "none")
        followed = self.headers.get("Sec-Fetch-Mode") == "navigate" and self.path.partition("?")[0] == "/"
        if origin not in (None, f"http://{hosts[0]}") or (
            site not in ("none", "same-origin") and not followed
        ):
            raise Refused(403, "another web page may not read results here")

    def _route(self) -> None:
        if len(self.path) > MAX_ADDRESS:
            raise Refused(414, "the address is too long: choose fewer names")
        try:
            path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query, max_num_fields=1000)
        except ValueError:
            raise Refused(400, "this address cannot be read") from None
        if path == "/":
            return self._send(self.server.page, "text/html")
        if path in FILES:
            name, kind = FILES[path]
            return self._send(pages.template_text(name).encode(), kind)
        if path in ("/download.csv", "/download.xlsx"):
            return self._download(path.removeprefix("/download"), query)
        self._send_json(answer(self.server.explorer, path, query))

    def _download(self, ending: str, query: Query) -> None:
        name, data = explore.download(_loaded(self.server.explorer, query), _chosen(query), ending)
        self._send(data, KINDS[ending], headers={"Content-Disposition": f'attachment; filename="{name}"'})

    def _send_json(self, value: Any, status: int = 200) -> None:
        text = json.dumps(pages.all_visible(value), ensure_ascii=False, allow_nan=False, default=_plain)
        self._send(text.encode("utf-8", "replace"), "application/json", status)

    def _send(
        self, data: bytes, kind: str, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        self.send_response(status)
        always = {"Content-Type": f"{kind}; charset=utf-8", "Content-Length": str(len(data)),
                  "Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff",
                  "Cache-Control": "no-store", "Referrer-Policy": "no-referrer",
                  "Cross-Origin-Resource-Policy": "same-origin"}  # fmt: skip
        for name, value in {**always, **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, format: str, *values: Any) -> None:
        """Say nothing: the terminal is the user's."""


def _plain(value: Any) -> Any:
    """A number of numpy as JSON can hold it."""
    return value.item()


# ---------------------------------------------------------------- the server


class Server(ThreadingHTTPServer):
    """The running page; made by `start`."""

    daemon_threads = True
    allow_reuse_address = sys.platform != "win32"

    def __init__(self, explorer: explore.Explorer, port: int) -> None:
        self.explorer = explorer
        title = " and ".join(folder.resolve().name for folder in explorer.folders)
        self.page = pages.fill("explore.html.j2", pages.all_visible({"title": one_line(title, 120)})).encode()
        super().__init__((HOST, port), Handler)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{HOST}:{self.server_address[1]}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that breaks off is no error of ours."""
        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)

    def __enter__(self) -> Server:  # noqa: PYI034
        self.explorer.read()
        threading.Thread(target=self.serve_forever, args=(0.1,), daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.shutdown()
        self.server_close()
        self.explorer.slowly.close()


def start(folders: Sequence[Path], port: int | None = None) -> Server:
    """Make the server: `with start(["my-run"]) as server:` … `server.url` says where.

    Port 0 takes any free one. Without a port it is 8900, or any free one where that is taken, so that an address
    mostly holds the next time too.
    """
    if port is not None and not 0 <= port <= 65535:
        raise BenchkitError(f"--port {port}: a number from 0 (any free port) to 65535 is allowed.")
    explorer = explore.Explorer(folders)
    try:
        return Server(explorer, PORT if port is None else port)
    except OSError as problem:
        if port is not None:
            raise BenchkitError(
                f"Port {port} cannot be used ({problem.strerror}). Leave --port out to take a free one."
            ) from None
        return Server(explorer, 0)


def serve(folders: Sequence[Path], port: int | None = None, open_browser: bool = True) -> None:
    """Show the runs in the browser until Ctrl-C. Whoever looks gives way to a run that still measures."""
    if hasattr(os, "nice"):
        os.nice(10)
    with start(folders, port) as server:
        print(
            f"Exploring at {server.url}\nOnly this computer can reach it. Ctrl-C ends it.",
            file=sys.stderr,
            flush=True,
        )
        if open_browser:
            webbrowser.open(server.url)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print("Stopped.", file=sys.stderr)
