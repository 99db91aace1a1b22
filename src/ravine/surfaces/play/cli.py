"""`ravine play`: starts the playground and opens the browser, or writes it into one file."""

import argparse
import atexit
import os
import socket
import sys
import threading
import webbrowser
from pathlib import Path

import uvicorn

from ravine.cli.answer import Mistake, Parser, Whole, answer
from ravine.surfaces.play.export import write
from ravine.surfaces.play.server import COMPUTING, application
from ravine.typed import listed

PORT = 8247


def main(argv: list[str]) -> int:
    """Runs the command in `argv` and returns its exit status."""
    return answer(lambda: run(_parser().parse_args(argv[1:])), ValueError, OSError)


def run(asked: argparse.Namespace) -> None:
    """Writes the file, or serves the page."""
    if asked.export is not None:
        write(asked.export, asked.surfaces, asked.optimizers)
    else:
        serve(asked.port, browser=not asked.no_browser)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="ravine play", description="Optimizers on loss surfaces, in the browser. Ctrl-C stops it.")
    add = parser.add_argument
    add(
        "--port",
        type=Whole(0, 65535),
        metavar="N",
        help=f"at 127.0.0.1 (default {PORT}, or a free one where that is taken)",
    )
    add("--no-browser", action="store_true", help="only say the address")
    add(
        "--export",
        type=Path,
        metavar="FILE",
        help="write the page with computed paths into one file that opens offline",
    )
    add("--surfaces", metavar="A,B", type=listed, help="of the file (default all)")
    add("--optimizers", metavar="A,B", type=listed, help="of the file (default eight)")
    return parser


def serve(port: int | None, browser: bool) -> None:
    """The page at 127.0.0.1 until Ctrl-C."""
    found = bound(port)
    number = found.getsockname()[1]
    address = f"http://127.0.0.1:{number}/"
    print(f"ravine play: {address}   Ctrl-C stops it", flush=True)
    if browser:
        threading.Timer(0.5, webbrowser.open, [address]).start()
    config = uvicorn.Config(application(number), log_level="warning", timeout_graceful_shutdown=1)
    atexit.register(leave)
    uvicorn.Server(config).run([found])


def leave() -> None:
    """End at once where an answer is still computed: Python's own end would stop its thread within torch: an abort."""
    if any(thread.name == COMPUTING for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(130)


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
