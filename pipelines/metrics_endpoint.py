"""`python -m pipelines.metrics_endpoint`: numbers for Prometheus at /metrics, on loopback unless it is told otherwise.

Anybody who reaches the port may read; there is nothing about people in it.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from sqlalchemy.exc import SQLAlchemyError

from alerts import flow_rules, opening
from alerts.flow_rules import FlowRule
from alerts.rules import Limits
from pipelines import command, settings, wiring_watch
from pipelines.errors import OrganismError, PermanentError
from pipelines.jobs import exposition, prefect_view
from pipelines.jobs.exposition import Shown
from pipelines.jobs.facts import gather, last_good
from pipelines.jobs.ingest import utc_now
from pipelines.newest import Newest
from pipelines.settings import Settings

_log = logging.getLogger(__name__)
#: Prometheus gives up after ten seconds by default, and stores that are away take longer to say so: then the last numbers are
#: given again, with their age.
_PATIENCE_S = 8.0
#: Who asks more often than this gets the same numbers again.
_FRESH_S = 5.0


def numbers(config: Settings, limits: Limits) -> bytes:
    """Asked of every store that is there. limits: of the service levels, where operators set nothing for a flow."""
    with wiring_watch.watching(config) as watched:
        now, of = utc_now(), watched.sources
        view = prefect_view.look(of.orchestrator, of.pool, now) if of.orchestrator else None
        facts = gather(of, wiring_watch.machine(config), now, view)
        shown = Shown(facts)
        try:
            if of.ledger is not None:
                figures, good = exposition.figures(of.ledger, now), last_good(of.ledger)
                incidents, rules = _alerts(watched.postgres)
                shown = Shown(facts, figures, good, incidents)
                limits = flow_rules.adjusted(limits, rules, now)
        except OrganismError as error:  # it went away in between
            _log.warning("the ledger cannot be asked: %s", error)
        return exposition.text(shown, limits)


def _alerts(postgres_url: str | None) -> tuple[dict[str, int] | None, tuple[FlowRule, ...]]:
    """Open incidents by severity, None where they cannot be counted; and what operators set for flows."""
    store = opening.server(postgres_url)
    if store is None:
        return None, ()
    try:
        found = Counter(case.incident.problem.severity.value for case in store.open_cases())
        rules = opening.rules_of(store)
    except SQLAlchemyError as error:
        _log.warning("open incidents cannot be counted: %s", type(error).__name__)
        return None, ()
    finally:
        store.close()
    return {severity: found[severity] for severity in ("critical", "warning", "info")}, rules


def _told(ask: Callable[[], bytes]) -> bytes:
    """Raises OrganismError: there are no new numbers; why is in the log."""
    try:
        return ask()
    except OrganismError as error:
        _log.warning("no new numbers: %s", error)
        raise


class Latest:
    """The newest numbers, learned by one thread at a time, however many want them. Who waits too long gets the last ones."""

    def __init__(
        self,
        ask: Callable[[], bytes],
        clock: Callable[[], float] = time.monotonic,
        patience_s: float = _PATIENCE_S,
        fresh_s: float = _FRESH_S,
    ) -> None:
        self._newest = Newest(partial(_told, ask), fresh_s, clock, patience_s)

    def text(self) -> bytes | None:
        """None when nothing was ever learned. Ends with the age of the numbers in seconds."""
        try:
            found = self._newest.seen()
        except OrganismError:
            found = self._newest.last()
        return None if found is None else found.value + self._age(found.age_s)

    @staticmethod
    def _age(seconds: float) -> bytes:
        words = "# HELP organism_age_seconds How old these numbers are.\n# TYPE organism_age_seconds gauge\n"
        return f"{words}organism_age_seconds {seconds:.1f}\n".encode()


class Endpoint(ThreadingHTTPServer):
    """GET /metrics and nothing else."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], latest: Latest) -> None:
        self.latest = latest
        super().__init__(address, _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: Endpoint
    timeout = 10  # of a client that connects and says nothing

    def do_GET(self) -> None:  # the library's name
        if self.path.partition("?")[0] != "/metrics":
            self._answer(404, b"GET /metrics\n")
            return
        text = self.server.latest.text()
        if text is None:
            self._answer(503, b"no numbers yet\n")
        else:
            self._answer(200, text, CONTENT_TYPE_PLAIN_0_0_4)

    def _answer(self, status: int, body: bytes, kind: str = "text/plain; charset=utf-8") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the library's name
        _log.debug("asked for numbers")

    def version_string(self) -> str:
        return "causal-organism"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m pipelines.metrics_endpoint", description="Numbers for Prometheus.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, default=9464, help="port to listen on (default 9464; 0: any that is free)")
    options = parser.parse_args(argv)
    config, limits = settings.load(), opening.limits(wiring_watch.alert_settings())
    try:
        endpoint = Endpoint((options.host, options.port), Latest(lambda: numbers(config, limits)))
    except OSError as error:
        raise PermanentError(f"{options.host}:{options.port}: {error.strerror}; choose another with --port") from None
    with endpoint:
        command.say(f"numbers for Prometheus at http://{options.host}:{endpoint.server_address[1]}/metrics")
        endpoint.serve_forever()
    return command.GOOD


if __name__ == "__main__":
    raise SystemExit(command.run(main))
