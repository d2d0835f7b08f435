"""The channel that is always there: one line for each change on the logger `alerts`."""

from __future__ import annotations

import logging
from datetime import datetime

from alerts import words
from alerts.model import Change, Message, Severity

_LEVELS = {Severity.CRITICAL: logging.ERROR, Severity.WARNING: logging.WARNING, Severity.INFO: logging.INFO}


class Log:
    name = "log"

    def send(self, message: Message, now: datetime) -> None:
        """Never fails. What ended and what is a test is said, not warned of."""
        calm = message.change in (Change.RECOVERED, Change.TEST)
        level = logging.INFO if calm else _LEVELS[message.incident.problem.severity]
        logging.getLogger("alerts").log(level, "%s", words.line(message))

    def close(self) -> None:
        """Nothing to close."""
