"""Sockets between processes of this machine, that only they can open, and on which nobody waits without a limit."""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Callable, Sequence
from multiprocessing import AuthenticationError, connection
from pathlib import Path
from typing import Any

import torch

from ravine.parallel.engines.lines import Ended, Gone, Line, Lines

HANDSHAKE = 30.0  # seconds in which a caller must have proved that it has the key
UNIX = hasattr(socket, "AF_UNIX")


def limit(fd: int, seconds: float) -> None:
    """No read or write of this socket waits longer without a byte."""
    if UNIX:
        span = struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))  # 0: without a limit
        with socket.socket(fileno=os.dup(fd)) as line:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, span)
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, span)


def dial(address: str, key: bytes, seconds: float) -> connection.Connection:
    """A connection to whoever listens there; OSError or EOFError where nobody does so in time."""
    if not UNIX:
        return connection.Client(address, authkey=key)
    caller = socket.socket(socket.AF_UNIX)
    try:
        caller.settimeout(seconds)
        caller.connect(address)
        caller.setblocking(True)
        line = connection.Connection(caller.detach())
    except BaseException:
        caller.close()
        raise
    try:
        limit(line.fileno(), seconds)
        connection.answer_challenge(line, key)
        connection.deliver_challenge(line, key)
    except BaseException:
        line.close()
        raise
    return line


def listen(address: str, key: bytes, answer: Callable[[Any], Any], ready: Callable[[], None]) -> None:
    """Answer messages for ever: one thread for each caller. A caller that stops keeps up nobody else."""

    def serve(line: connection.Connection) -> None:
        try:
            if UNIX:
                limit(line.fileno(), HANDSHAKE)
                connection.deliver_challenge(line, key)
                connection.answer_challenge(line, key)
                limit(line.fileno(), 0.0)
            while True:
                line.send(answer(line.recv()))
        except (EOFError, OSError, AuthenticationError):
            pass
        finally:
            line.close()

    def hear(line: connection.Connection) -> None:
        threading.Thread(target=serve, args=(line,), daemon=True).start()

    if not UNIX:
        with connection.Listener(address, authkey=key, backlog=64) as listener:
            ready()
            while True:
                try:
                    hear(listener.accept())
                except (AuthenticationError, EOFError, OSError):
                    continue
    Path(address).unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(address)
        door.listen(64)
        ready()
        while True:
            hear(connection.Connection(door.accept()[0].detach()))


class SocketLine(Line):
    """A line to the process of a shard.

    gone: a file that says, once it is there, why the shard will not come back.
    """

    def __init__(self, i: int, address: str, key: bytes, gone: Path, dtypes: Sequence[torch.dtype], patience: float):
        self.address, self.key, self.gone = address, key, gone
        self.connection: connection.Connection | None = None
        super().__init__(i, dtypes, patience)

    def attempt(self, message: Any, seconds: float) -> Any:
        try:
            if self.connection is None:
                self.connection = dial(self.address, self.key, seconds)
                limit(self.connection.fileno(), self.patience)
            self.connection.send(message)
            if self.connection.poll(seconds):
                return self.connection.recv()
        except (OSError, EOFError, AuthenticationError):
            pass
        self.hang_up()
        if self.gone.exists():
            raise Ended(self.gone.read_text(encoding="utf-8"))
        raise Gone

    def hang_up(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None


class Connect:
    """Makes lines to shards; it can be sent to another process."""

    def __init__(
        self,
        addresses: Sequence[str],
        key: bytes,
        gone: Sequence[Path],
        dtypes: Sequence[Sequence[torch.dtype]],
        patience: float,
    ):
        self.about = (addresses, key, gone, dtypes, patience)

    def __call__(self, number: int) -> Lines:
        addresses, key, gone, dtypes, patience = self.about
        return Lines([SocketLine(i, x, key, gone[i], dtypes[i], patience) for i, x in enumerate(addresses)])
