"""Log lines that read as sentences on a terminal and as JSON elsewhere. Secrets and people never reach a handler."""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime

from pipelines.errors import OrganismError

#: How a pseudonym looks, also behind a word and in capitals: for whoever looks for one in a text.
PSEUDONYM = r"(?<![0-9a-z])[px]_[0-9a-f]{16,40}(?![0-9a-f])"
#: URLs with a password, Slack webhooks (the URL is the credential), pseudonyms, mail addresses, our own keys and tokens.
#: An address begins where its characters do, and gives none back: a long text is read once.
_SECRET = re.compile(
    r"(?P<url>[a-z][a-z0-9+.-]{0,20}://)[^\s/@:]*:[^\s@]{1,1000}@"
    r"|hooks\.slack\.com/\S+"
    rf"|{PSEUDONYM}"
    r"|(?<![\w.+%-])[\w.+%-]++@[\w-]++(?:\.[\w-]++)+"
    r"|(?<![\w.+-])[\w.+-]++%40[\w-]++(?:\.[\w-]++)+"
    r"|\b(?:key|token)_[0-9a-f]{16}\.[\w-]{43}",
    re.IGNORECASE,
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
