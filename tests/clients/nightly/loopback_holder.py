"""Holds a network namespace open. Run inside it, with the number of a Unix socket and of a port as arguments: brings
loopback up, listens on the port, hands the listening socket out through the Unix socket and waits until that closes."""

from __future__ import annotations

import fcntl
import socket
import struct
import sys

SET_FLAGS = 0x8914  # SIOCSIFFLAGS of <linux/sockios.h>
UP = 0x1  # IFF_UP of <linux/if.h>


def main(link: socket.socket, port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SET_FLAGS, struct.pack("16sh14x", b"lo", UP))
    with socket.create_server(("127.0.0.1", port)) as listener:
        socket.send_fds(link, [b"listening"], [listener.fileno()])
    link.recv(1)


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]))
