"""Free TCP ports that stay free until they are used."""

from __future__ import annotations

import random
import socket

LOOPBACK = "127.0.0.1"

_FIRST_PORT = 15_000
# Linux and macOS give ports from 32,768 or 49,152 on to outgoing connections. A client that tries
# to reach a killed server on such a port can be given that very port, connect to itself, and keep
# the server from starting again.
_LAST_PORT = 32_000
_ATTEMPTS_MAX = 1_000

_given: set[int] = set()
# Not the `random` module's own generator: pytest-randomly seeds it anew for every test.
_generator = random.SystemRandom()


def free_port() -> int:
    """Return a loopback port that nothing listens on and that this process has not given before."""
    for _ in range(_ATTEMPTS_MAX):
        port = _generator.randint(_FIRST_PORT, _LAST_PORT)
        if port not in _given and _can_be_bound(port):
            _given.add(port)
            return port
    raise RuntimeError(f"no free port between {_FIRST_PORT} and {_LAST_PORT}")


def _can_be_bound(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        try:
            listener.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
