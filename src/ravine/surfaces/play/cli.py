"""`ravine play`: starts the playground and opens the browser, or writes it into one file."""

import argparse
import socket
import sys
import threading
import webbrowser
from pathlib import Path
from typing import NoReturn

import uvicorn

from ravine.surfaces.play.export import write
from ravine.surfaces.play.server import application

PORT = 8247


class Mistake(ValueError):
    """Something in the arguments that the person can mend."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Mistake(f"{message} (see {self.prog} --help)")


def main(argv: list[str]) -> int:
    """Runs the command in `argv` and returns its exit status."""
    try:
        asked = _parser().parse_args(argv[1:])
        if asked.export is not None:
            write(asked.export, names(asked.surfaces), names(asked.optimizers))
        else:
            serve(asked.port, browser=not asked.no_browser)
        return 0
    except ValueError as error:
        print(f"ravine: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="ravine play", description="Optimizers on loss surfaces, in the browser. Ctrl-C stops it.")
    add = parser.add_argument
    add("--port", type=int, metavar="N", help=f"at 127.0.0.1 (default {PORT}, or a free one where that is taken)")
    add("--no-browser", action="store_true", help="only say the address")
    add(
        "--export",
        type=Path,
        metavar="FILE",
        help="write the page with computed paths into one file that opens offline",
    )
    add("--surfaces", metavar="A,B", help="of the file (default all)")
    add("--optimizers", metavar="A,B", help="of the file (default eight)")
    return parser


def names(text: str | None) -> list[str] | None:
    """A list that was typed with commas."""
    return None if text is None else [x.strip() for x in text.split(",") if x.strip()]


def serve(port: int | None, browser: bool) -> None:
    """The page at 127.0.0.1 until Ctrl-C."""
    found = bound(port)
    number = found.getsockname()[1]
    address = f"http://127.0.0.1:{number}/"
    print(f"ravine play: {address}   Ctrl-C stops it", flush=True)
    if browser:
        threading.Timer(0.5, webbrowser.open, [address]).start()
    config = uvicorn.Config(application(number), log_level="warning", timeout_graceful_shutdown=1)
    uvicorn.Server(config).run([found])


def bound(port: int | None) -> socket.socket:
    """A socket at this port of 127.0.0.1, and of nothing that others can reach."""
    try:
        return listening(PORT if port is None else port)
    except (OSError, OverflowError) as error:
        if port is None:
            return listening(0)
        raise Mistake(f"--port {port}: {getattr(error, 'strerror', None) or error}") from None


def listening(port: int) -> socket.socket:
    """One at just this port, or at any that is free for 0."""
    made = socket.socket()
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(("127.0.0.1", port))
        made.listen()
        return made
    except BaseException:
        made.close()
        raise
