"""`python -m pipelines.api`: the HTTP API and the status page, until Ctrl-C or SIGTERM.

Stores that a setting names may be away when it starts, and come back; the embedded ones are started with it.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import socket
import threading
import time
from contextlib import suppress
from functools import partial

import uvicorn

from pipelines import command, settings, wiring, wiring_api
from pipelines.api import heads
from pipelines.api.app import create_app
from pipelines.api.desk import Desk, opened
from pipelines.api.repeating import repeated
from pipelines.errors import OrganismError, PermanentError
from pipelines.settings import Settings
from pipelines.wiring import Endpoints

#: Requests that are at work when it is told to end may take so long, and threads that are left in the end so long: with the
#: closing of the stores no longer than the ten seconds after which a container is killed.
_GRACE_S, _LEFT_S = 7, 0.5
#: How soon it is missed that the embedded servers have ended.
_LOOK_S = 3.0
_NO_USER = "nobody can log in yet: python -m pipelines.users create NAME --role viewer --role operator"


def main(argv: list[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    config = settings.load()
    if options.openapi:
        print(json.dumps(document(config), indent=2))
        return command.GOOD
    host = config.api_host if options.host is None else options.host
    with _bound(host, config.api_port if options.port is None else options.port) as listening:
        command.say(f"api: {wiring.which(config)}")
        with (
            wiring.endpoints(config) as where,
            repeated(partial(wiring_api.start_again, config, where), _LOOK_S),
            opened(config, where) as desk,
        ):
            _serve(desk, listening, host)
    return command.GOOD


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipelines.api", description="The HTTP API and the status page.")
    parser.add_argument("--host", help="address to listen on (default ORGANISM_API_HOST, 127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on (default ORGANISM_API_PORT, 8080; 0: any)")
    parser.add_argument("--openapi", action="store_true", help="print the OpenAPI document and end")
    return parser


def document(config: Settings) -> dict[str, object]:
    """The OpenAPI document; no store is opened for it."""
    nowhere = Endpoints("redis://", "redis://", "bolt://", "", "", "", "postgresql://")
    with opened(config, nowhere) as desk:
        return create_app(desk).openapi()


def _bound(host: str, port: int) -> socket.socket:
    """Taken before the stores are started, so that who starts it twice is told at once."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # The protocol by name: else asyncio does not know it for TCP, and answers wait 40 ms for an acknowledgement.
        found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or "no such address"
        raise PermanentError(f"{host}:{port}: {why}; choose another with --host and --port") from None
    return found


def _serve(desk: Desk, listening: socket.socket, host: str) -> None:
    """Uvicorn without its access log: paths hold ids, and who asked is in the audit log where it matters."""
    config = uvicorn.Config(
        create_app(desk),
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=_GRACE_S,
        h11_max_incomplete_event_size=32 * 1024,
        **heads.settings(),
    )
    _say_where(listening, host)
    threading.Thread(target=_say_who, args=(desk,), daemon=True).start()  # a store that hangs keeps nobody out
    # Uvicorn ends its work in order and then raises the signal once more, which would end this process at once.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listening])
    command.say("api: stopped")


def _say_where(listening: socket.socket, host: str) -> None:
    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{listening.getsockname()[1]}"
    command.say(f"api: {url} is the status page, {url}/docs the API; Ctrl-C ends it")


def _say_who(desk: Desk) -> None:
    try:
        if not desk.has_users():
            command.say(f"api: {_NO_USER}")
    except OrganismError as error:
        command.say(f"api: {error}; what needs it is answered 503 until it is there")


def _leave(code: int) -> None:
    """The end of this process, which waits for no thread that a store keeps waiting: nobody waits for its answer any more."""
    until = time.monotonic() + _LEFT_S
    others = [each for each in threading.enumerate() if not each.daemon and each is not threading.current_thread()]
    for each in others:
        each.join(max(0.0, until - time.monotonic()))
    if any(each.is_alive() for each in others):
        logging.shutdown()
        os._exit(code)
    raise SystemExit(code)


if __name__ == "__main__":
    _leave(command.run(main))
