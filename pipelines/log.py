"""Log lines that read as sentences on a terminal and as JSON elsewhere. Secrets and people never reach a handler."""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime

from pipelines.errors import OrganismError

#: URLs with a password, Slack webhooks (the URL is the credential), pseudonyms, mail addresses, our own keys and tokens.
_SECRET = re.compile(
    r"(?P<url>[a-z][a-z0-9+.-]*://)[^\s/@:]*:[^\s@]+@"
    r"|hooks\.slack\.com/\S+"
    r"|\b[px]_[0-9a-f]{16,40}\b"
    r"|\b[\w.+-]+@[\w-]+\.[\w.-]+\b"
    r"|\b(?:key|token)_[0-9a-f]{16}\.[\w-]{43}"
)


def redact(text: str) -> str:
    """The text without anything that is secret or names a person."""
    return _SECRET.sub(lambda found: (found["url"] or "") + "[redacted]" + ("@" if found["url"] else ""), text)


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": redact(record.getMessage()),
        }
        if record.exc_info:
            line["error"] = redact(self.formatException(record.exc_info))
        return json.dumps(line)


class Redacting(logging.Filter):
    """For handlers that are not ours: what they are given holds no secret and names nobody, tracebacks included."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redact(record.getMessage()), ()
        if record.exc_info and isinstance(record.exc_info[1], OrganismError):
            record.exc_info = None  # its sentence says it all; the way through Prefect's engine helps nobody
        if record.exc_info:
            record.exc_text = redact(logging.Formatter().formatException(record.exc_info))
            record.exc_info = None
        return True


def setup(form: str, level: str) -> None:
    """Log to standard error, as `text` or `json`; `auto` is text on a terminal. Drivers are heard from WARNING upwards.

    The drivers' own retry lines are left out: they quote the server's message, and our steps say the same without it.
    """
    text = form == "text" or (form == "auto" and sys.stderr.isatty())
    handler = logging.StreamHandler()
    handler.setFormatter(_Text("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S") if text else _Json())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in ("httpx", "httpcore", "urllib3", "psycopg.pool", "websockets", "hpack"):  # they print URLs and logins
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("neo4j").setLevel(logging.CRITICAL)
    logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)
    logging.getLogger("stamina").setLevel(logging.CRITICAL)
