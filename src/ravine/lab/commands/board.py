"""A page at 127.0.0.1 that shows a comparison while it runs, and its report at the end."""

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

from ..errors import LabError
from ..report.so_far import EVERY


class Board:
    """Answers with the page that it was given last; `now` changes when the page does."""

    def __init__(self) -> None:
        self.now: Callable[[], object] = lambda: "begun"
        self.page: Callable[[], str] = lambda: BEGUN
        self.asked, self.seen = -math.inf, Event()

    def show(self, now: Callable[[], object], page: Callable[[], str]) -> None:
        """Both are called for each question, in a thread of its own."""
        self.now, self.page = now, page

    def end(self, page: str) -> None:
        """Shows the report, and waits a moment for those who look to have it."""
        self.seen.clear()
        self.show(lambda: "ended", lambda: page)
        if time.monotonic() - self.asked < 3 * EVERY:
            self.seen.wait(2 * EVERY)


BEGUN = f"""<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="{EVERY}">
<title>ravine compare</title><body>The comparison begins …"""


@contextmanager
def board(port: int | None) -> Iterator[Board | None]:
    """One at this port of 127.0.0.1, at a free one for 0, none for None; it ends with the block."""
    if port is None:
        yield None
        return
    made = Board()
    try:
        server = Server(("127.0.0.1", port), handler(made))
    except (OSError, OverflowError) as error:
        raise LabError(f"--serve {port}: {getattr(error, 'strerror', None) or error}; 0 takes a free port") from None
    Thread(target=server.serve_forever, args=(0.1,), name="ravine compare --serve", daemon=True).start()
    print(f"Live: http://127.0.0.1:{server.server_port}/", flush=True)
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()


class Server(ThreadingHTTPServer):
    """Says nothing where a browser leaves in the middle of an answer."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Everything else is a fault of ours, to be seen."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


def handler(made: Board) -> type[BaseHTTPRequestHandler]:
    """Answers who came by our own address: a name of somebody's that points at this machine is refused."""

    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            port = self.connection.getsockname()[1]
            if self.headers.get("Host") not in (f"127.0.0.1:{port}", f"localhost:{port}"):
                self.send_error(403)
            elif self.path == "/now":
                made.asked = time.monotonic()
                self.told(str(made.now()), "text/plain")
            elif self.path == "/":
                made.asked = time.monotonic()
                self.told(made.page(), "text/html")
                made.seen.set()
            else:
                self.send_error(404)

        def told(self, text: str, kind: str) -> None:
            body = text.encode()
            self.send_response(200)
            for name, value in {
                "Content-Type": f"{kind}; charset=utf-8", "Content-Length": str(len(body)), "Cache-Control": "no-store",
                "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
                "Cross-Origin-Resource-Policy": "same-origin", "X-Frame-Options": "DENY",
            }.items():  # fmt: skip
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler
