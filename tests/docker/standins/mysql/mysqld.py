#!/usr/bin/python3
"""A stand-in for MySQL 8.4: the greeting of its protocol, then "Access denied" to whoever tries to log in.

Like the official image it will not begin on an empty data folder without a root password, and runs the scripts of
/docker-entrypoint-initdb.d once (here: it names them).
"""

import os
import signal
import socketserver
import struct
import sys
from pathlib import Path

DATA = Path("/var/lib/mysql")
SCRIPTS = Path("/docker-entrypoint-initdb.d")
VERSION = b"8.4.6"
PASSWORDS = ("MYSQL_ROOT_PASSWORD", "MYSQL_ALLOW_EMPTY_PASSWORD", "MYSQL_RANDOM_ROOT_PASSWORD")


def initialise() -> None:
    """Fill an empty data folder; exits with 1 where no root password is given."""
    if (DATA / "mysql.ibd").exists():
        return
    if not any(os.environ.get(name) for name in PASSWORDS):
        sys.exit(
            "[ERROR] [Entrypoint]: Database is uninitialized and password option is not specified\n"
            f"    You need to specify one of the following as an environment variable: {', '.join(PASSWORDS)}"
        )
    for script in sorted(SCRIPTS.glob("*.sql")):
        print(f"[Note] [Entrypoint]: running {script}: {len(script.read_text().splitlines())} lines", flush=True)
    (DATA / "mysql.ibd").touch()


def packet(number: int, body: bytes) -> bytes:
    return struct.pack("<I", len(body))[:3] + bytes([number]) + body


class Connection(socketserver.BaseRequestHandler):
    """Greets, reads one answer, refuses it."""

    def handle(self) -> None:
        salt = b"stand-in\x01"
        greeting = b"\x0a" + VERSION + b"\0" + struct.pack("<I", 1) + salt[:8] + b"\0" + struct.pack("<H", 0x8200)
        greeting += bytes([255]) + struct.pack("<HH", 2, 8) + bytes([21]) + bytes(10) + b"standin-mysq\0"
        self.request.sendall(packet(0, greeting + b"mysql_native_password\0"))
        if self.request.recv(4096):
            refusal = b"\xff" + struct.pack("<H", 1045) + b"#28000Access denied: this is a stand-in for MySQL"
            self.request.sendall(packet(2, refusal))


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def main() -> None:
    """Serve until SIGTERM."""
    arguments = sys.argv[1:]
    if arguments and not arguments[0].startswith("-") and arguments[0] != "mysqld":
        os.execvp(arguments[0], arguments)
    print("This is a stand-in for mysql:8.4.6", flush=True)
    initialise()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with Server(("", 3306), Connection) as server:
        print("mysqld: ready for connections. Version: '8.4.6'  port: 3306", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
