"""The dashboard of lesson 08 as a web page, served by Voilà: for this computer and this user alone.

    benchkit watch benchmark_outputs/mine

What is served is the lesson's own notebook, of which the cells tagged `page` are kept, with the run's folder as their
parameter; it is never written anywhere, and nothing that a browser sends decides which folder or notebook is shown.
Each page has a kernel of its own, which ends when the page is closed, and with this program.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import tempfile
import threading
import webbrowser
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchkit import places, runs
from benchkit.errors import BenchkitError

NOTEBOOK = places.ROOT / "notebooks" / "08_live_dashboard.ipynb"

#: A kernel whose page is gone, though it did not say goodbye, ends after this to twice as many seconds.
FORGOTTEN_S = 30

#: What the page loads of JupyterLab: its widgets, in the names of Voilà 0.5.
WIDGETS = ["@jupyter-widgets/jupyterlab-manager", "@voila-dashboards/widgets-manager7",
           "@voila-dashboards/widgets-manager8"]  # fmt: skip

#: The page's scripts are Voilà's own; nothing comes from or goes to another place, whatever a text may contain.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'none'"
)


def serve(
    folder: str | os.PathLike, port: int | None = None, browser: bool = True, replay: float | None = None,
    ready: Callable[[str], None] = print,
) -> None:  # fmt: skip
    """Serve the dashboard of a run until Ctrl-C. `ready` gets the page's address; `browser` opens it."""
    voila = _voila()
    folder = Path(folder).resolve()
    runs.open_run(folder)  # what is no run's folder is refused here
    if not NOTEBOOK.exists():
        raise BenchkitError(f"{NOTEBOOK} is missing: it is the page. Or: benchkit watch {folder} --terminal")
    _be_polite()
    with tempfile.TemporaryDirectory(prefix="benchkit-watch-") as scratch:
        app = _page(voila, port, browser, ready)(**_settings(scratch, port))
        app.initialize([])
        _configure(app, folder, replay)
        _stop_with_the_terminal()
        app.start()  # returns after Ctrl-C; the kernels are ended then


def _voila() -> Any:
    try:
        from voila.app import Voila
    except ImportError:
        raise BenchkitError(
            "a web page needs Voilà: pip install 'benchkit[notebooks]'. In this terminal: benchkit watch RUN --terminal"
        ) from None
    return Voila


def _be_polite() -> None:
    """Whoever watches gives way to what is measured: the server and its kernels come last."""
    if hasattr(os, "nice"):
        with suppress(OSError):
            os.nice(10)


def _page(voila: type, port: int | None, browser: bool, ready: Callable[[str], None]) -> type:
    """Voilà, telling its address with the token in it: whoever does not have it is shown nothing."""
    from tornado.ioloop import PeriodicCallback

    class Page(voila):  # type: ignore[misc]
        def launch_browser(self) -> None:
            address = f"http://127.0.0.1:{self.port}/?token={self.token}"
            if port not in (None, self.port):
                raise BenchkitError(f"port {port} is in use. Without --port a free one is taken.")
            ready(address)
            PeriodicCallback(_forgotten(self.kernel_manager), 1000 * FORGOTTEN_S).start()
            if browser:
                threading.Thread(target=_open, args=(address,), daemon=True).start()

    return Page


def _forgotten(kernels: Any) -> Callable[[], Awaitable[None]]:
    """What ends the kernels that no page was connected to when it was last called, nor now."""
    alone: set[str] = set()

    async def end() -> None:
        now = {kernel for kernel in kernels.list_kernel_ids() if not kernels.kernel_model(kernel)["connections"]}
        for kernel in now & alone:
            await kernels.shutdown_kernel(kernel)
        alone.clear()
        alone.update(now)

    return end


def _open(address: str) -> None:
    """Open the page by way of a file that only this user can read: what a program is started with, all can see."""
    handle, name = tempfile.mkstemp(prefix="benchkit-", suffix=".html")
    with open(handle, "w", encoding="utf-8") as file:
        file.write(f'<!doctype html><meta http-equiv="refresh" content="0; url={address}"><title>benchkit</title>')
    webbrowser.open(Path(name).as_uri())


def _settings(scratch: str, port: int | None = None) -> dict[str, Any]:
    return {"notebook_path": str(NOTEBOOK), "root_dir": str(NOTEBOOK.parent), "connection_dir_root": scratch,
            "ip": "127.0.0.1", "port": port or _free_port(), "open_browser": True, "token": secrets.token_urlsafe(24),
            "config_file_paths": [], "log_level": "ERROR",
            "tornado_settings": {"allow_remote_access": False, "ws_ping_interval": 0,
                                 "headers": {"Content-Security-Policy": POLICY}}}  # fmt: skip


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _configure(app: Any, folder: Path, replay: float | None) -> None:
    """One notebook, no files beside it, nothing that the address could choose."""
    c = app.voila_configuration
    c.file_allowlist, c.allow_template_override, c.allow_theme_override = [], "NO", "NO"
    c.strip_sources, c.show_tracebacks = True, False
    c.prelaunch_hook = lambda request, notebook, cwd: page_of(notebook, folder, replay)
    c.extension_allowlist = WIDGETS  # whatever else is installed in JupyterLab
    app.config.KernelManager.transport_encryption = "auto"  # newer kernels encrypt, and warn if not asked to


def page_of(notebook: Any, folder: Path, replay: float | None = None) -> Any:
    """The lesson's cells tagged `page`, with this folder to be watched and nothing to be started."""
    kept = [cell for cell in notebook.cells if "page" in cell.metadata.get("tags", ())]
    if not kept:
        raise BenchkitError(f"{NOTEBOOK.name} has no cell tagged page: make it again with python lessons/build.py")
    given = type(notebook.cells[0])(cell_type="code", metadata={}, outputs=[], execution_count=None, id="folder",
                                    source=f"folder, words, replay = {str(folder)!r}, None, {replay!r}")  # fmt: skip
    notebook.cells = [given, *kept]
    notebook.metadata["title"] = f"{folder.name} · benchkit"
    return notebook


def _stop_with_the_terminal() -> None:
    """A closed terminal ends the page as Ctrl-C does, so that no kernel is left behind."""
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.getsignal(signal.SIGTERM))
