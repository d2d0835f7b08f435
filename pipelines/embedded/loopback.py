"""Free ports on 127.0.0.1, and the one question a supervisor asks a server: do you answer?"""

import random
import socket
from collections.abc import Collection

LOOPBACK = "127.0.0.1"
# Below the range that Linux (32768-) and macOS (49152-) hand to outgoing connections. A client that keeps reconnecting
# to a dead server on a port of that range can end up connected to itself, and the server cannot have its port back.
_LOWEST, _HIGHEST = 20_000, 32_000
_PATIENCE_SECONDS = 0.2


def is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As the servers do: a connection of the last run in TIME_WAIT does not make the port taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_port(but_not: Collection[int] = ()) -> int:
    """A port that the operating system lets us bind now. Another process may still take it before it is used."""
    chance = random.SystemRandom()
    while True:
        port = chance.randrange(_LOWEST, _HIGHEST)
        if port not in but_not and is_free(port):
            return port


def ask(port: int, question: bytes) -> bytes:
    """What the server says to `question` within a moment; empty when nobody answers."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=_PATIENCE_SECONDS) as connection:
            connection.sendall(question)
            return connection.recv(1024)
    except OSError:
        return b""
