"""A network namespace that has loopback and nothing else, with one listening socket in it.

A socket belongs to the namespace in which it was made, whoever holds it. So the server stays outside, with the test and
the upstream, and serves a listener that was made inside: a client in the namespace reaches this server and nothing else
in the world.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HOLDER = Path(__file__).with_name("loopback_holder.py")


class NoNamespace(Exception):
    """This machine does not let us make one. The text says why."""


@dataclass(frozen=True, slots=True)
class Loopback:
    """`listener` accepts what connects to its port inside the namespace."""

    pid: int
    listener: socket.socket

    def inside(self, *command: str) -> list[str]:
        """The command line that runs `command` in the namespace."""
        return ["nsenter", f"--target={self.pid}", "--user", "--net", "--preserve-credentials", "--", *command]


@contextmanager
def loopback(port: int) -> Iterator[Loopback]:
    """A namespace of our own, with a listener on `port` of its loopback. Raises `NoNamespace`."""
    if missing := [program for program in ("unshare", "nsenter") if shutil.which(program) is None]:
        raise NoNamespace(f"{' and '.join(missing)} not found")
    ours, theirs = socket.socketpair()
    number = theirs.fileno()
    command = ["unshare", "--user", "--map-root-user", "--net", sys.executable, str(HOLDER), str(number), str(port)]
    with ours, subprocess.Popen(command, pass_fds=[number], stderr=subprocess.PIPE, text=True) as holder:
        theirs.close()
        _, (*descriptors,), _, _ = socket.recv_fds(ours, 16, 1)
        if not descriptors:
            assert holder.stderr is not None
            raise NoNamespace(holder.stderr.read().strip() or f"unshare ended with {holder.wait()}")
        with socket.socket(fileno=descriptors[0]) as listener:
            yield Loopback(holder.pid, listener)
            ours.shutdown(socket.SHUT_RDWR)
