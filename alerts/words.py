"""A message in words: as plain text, as Slack's blocks, as a mail and as JSON. Pure; what it gets is clean already."""

from __future__ import annotations

import hashlib
import html
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from alerts.model import QUESTIONS, Change, Code, Incident, Message, Severity

_SIGNS = {Severity.CRITICAL: "🔴", Severity.WARNING: "🟠", Severity.INFO: "🔵"}
_COLOURS = {Severity.CRITICAL: "#b3261e", Severity.WARNING: "#9a5b00", Severity.INFO: "#1f5fa8"}
_GREEN = "#1b6e3c"
_TEST = "TEST of the alerts, nothing is wrong"
#: Slack's limits. A message above one of them is refused as a whole, so that nobody would be told.
HEADER, TEXT, FIELD, FIELDS, BLOCKS = 150, 3_000, 2_000, 10, 50
#: Of the line that a notification shows. Slack takes more, nobody reads more.
_NOTICE = 1_000
#: The version of what `as_json` gives; a field may be added, none is renamed or removed without a new number.
SCHEMA = 1


# ---------------------------------------------------------------------------------------------------------- plain words


def title(message: Message) -> str:
    """One line: state, code and subject."""
    problem = message.incident.problem
    if problem.code is Code.TEST:
        return _TEST
    return f"{state(message)}: {problem.code.value} ({problem.subject})"


def state(message: Message) -> str:
    """In one word, for people: the severity while it lasts."""
    if is_question(message):
        return "Over" if message.change is Change.RECOVERED else "Please decide"
    if message.change in (Change.RECOVERED, Change.ESCALATED, Change.TEST):
        return message.change.value.capitalize()
    return message.incident.problem.severity.value.capitalize()


def rows(message: Message) -> Iterator[tuple[str, str]]:
    """Label and words of everything there is to say besides what, the command and the link; nothing empty."""
    incident, problem = message.incident, message.incident.problem
    ended = _ended(message)
    yield "Since", moment(problem.since)
    if ended is not None:
        yield ("Over" if is_question(message) else "Recovered"), f"{moment(ended)}, after {span(ended - problem.since)}"
    told = {
        "What is stale": problem.stale,
        "What still works": problem.works,
        "What is lost": problem.lost,
        "Last good run": moment(problem.last_good) if problem.last_good else "",
        "Next try": moment(problem.next_try) if problem.next_try and not ended else "",
        "Seen": f"{incident.count:,} times, the last at {moment(incident.seen_at)}" if incident.count > 1 else "",
    }
    yield from ((label, words) for label, words in told.items() if words)


def line(message: Message) -> str:
    """The message in one line, for a log and for a notification."""
    problem, ended = message.incident.problem, _ended(message)
    fix = problem.fix and f"{'see' if is_question(message) else 'fix'}: {problem.fix}"
    parts = [title(message), problem.what, f"since {moment(problem.since)}", fix]
    parts += [problem.link or ""] if is_question(message) else []
    if ended is not None:
        parts = [title(message), f"after {span(ended - problem.since)}", problem.what]
    return " · ".join(" ".join(part.split()) for part in parts if part)


def moment(at: datetime) -> str:
    """To the minute, in UTC, and saying so."""
    return at.strftime("%Y-%m-%d %H:%M UTC")


def span(length: timedelta) -> str:
    """A length of time in its two largest units: 2 d 3 h, 1 h 5 min, 40 s."""
    seconds = max(0, int(length.total_seconds()))
    units = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
    first = next((i for i, (_, size) in enumerate(units) if seconds >= size), 3)
    parts: list[str] = []
    for name, size in units[first : first + 2]:
        count, seconds = divmod(seconds, size)
        parts += [f"{count} {name}"] if count or not parts else []
    return " ".join(parts)


def reference(incident: Incident) -> str:
    """An id of the incident for others, always the same: its own where that is a short digest, else one made of it.

    In groups, so that nothing takes it for a token.
    """
    if re.fullmatch(r"[0-9a-f]{6,16}", incident.id):
        return incident.id
    digits = hashlib.blake2b(incident.id.encode("utf-8", "replace"), digest_size=12).hexdigest()
    return "-".join(digits[i : i + 6] for i in range(0, 24, 6))


def delivery(message: Message) -> str:
    """What makes this message this one, for receivers that drop repetitions. Equal whenever the same news is sent again."""
    incident = message.incident
    told = f"{reference(incident)}-{message.change.value}"
    if is_first(message) or message.change is Change.ESCALATED:  # happens once
        return told
    # An incident can come back, recover and be tested more than once.
    at = {
        Change.RECOVERED: incident.recovered_at,
        Change.TEST: incident.seen_at,
    }
    moment_of = at.get(message.change)
    return f"{told}-{int(moment_of.timestamp()) if moment_of else incident.count}"


def is_first(message: Message) -> bool:
    """Whether nobody has heard of the incident before; one that came back is opened again, and was counted."""
    return message.change is Change.OPENED and message.incident.count == 1


def is_question(message: Message) -> bool:
    """Whether nothing is wrong, and people are asked to decide."""
    return message.incident.problem.code in QUESTIONS


def _says_of_command(message: Message) -> str:
    return "The command that shows it:" if is_question(message) else "The command that fixes it:"


def _ended(message: Message) -> datetime | None:
    """When it ended, if that is the news. What only happened, such as a loss, has ended when it is first told."""
    return message.incident.recovered_at if message.change is Change.RECOVERED else None


# ---------------------------------------------------------------------------------------------------------------- mail


def subject(message: Message) -> str:
    """The same for all mails of an incident: some clients thread by it. Without line breaks."""
    problem = message.incident.problem
    about = _TEST if problem.code is Code.TEST else f"{problem.code.value} ({problem.subject})"
    words = fitted(" ".join(f"Organism alert: {about}".split()), 150)
    return words if is_first(message) or message.change is Change.TEST else f"Re: {words}"


def text(message: Message) -> str:
    """The message as plain text, a line for each thing."""
    problem = message.incident.problem
    lines = [title(message), "", problem.what, "", *(f"{label}: {words}" for label, words in rows(message))]
    lines += ["", _says_of_command(message), f"    {problem.fix}"] if problem.fix else []
    lines += ["", f"{'Its page' if is_question(message) else 'The run'}: {problem.link}"] if problem.link else []
    return "\n".join(lines) + "\n"


def page(message: Message) -> str:
    """The message as HTML that every mail client can show: no pictures, no scripts, nothing loaded."""
    problem, escape = message.incident.problem, html.escape
    colour = _GREEN if message.change is Change.RECOVERED else _COLOURS[problem.severity]
    cells = "".join(
        f'<tr><th align="left" valign="top" style="padding:2px 12px 2px 0">{escape(label)}</th>'
        f"<td>{escape(words)}</td></tr>"
        for label, words in rows(message)
    )
    fix = f"<p>{_says_of_command(message)}</p><pre>{escape(problem.fix)}</pre>" if problem.fix else ""
    opens = "Look at it and decide" if is_question(message) else "Open the run"
    link = f'<p><a href="{escape(problem.link)}">{opens}</a></p>' if problem.link else ""
    return (
        '<!doctype html><html lang="en"><body style="font-family:sans-serif">'
        f'<h1 style="font-size:18px;color:{colour}">{escape(title(message))}</h1><p>{escape(problem.what)}</p>'
        f"<table>{cells}</table>{fix}{link}</body></html>"
    )


# ---------------------------------------------------------------------------------------------------------------- JSON


def as_json(message: Message, now: datetime) -> Mapping[str, Any]:
    """The message for machines; `SCHEMA` is its version. Times are ISO 8601 in UTC, or null."""
    incident, problem = message.incident, message.incident.problem
    return {
        "version": SCHEMA,
        "change": message.change.value,
        "sent_at": now.isoformat(),
        "title": title(message),
        "incident": {
            "id": reference(incident),
            "key": incident.key,
            "count": incident.count,
            **_times(incident, "opened_at", "seen_at", "escalated_at", "recovered_at"),
        },
        "problem": {
            "code": problem.code.value,
            "severity": problem.severity.value,
            **{name: getattr(problem, name) for name in ("subject", "what", "stale", "works", "lost", "fix", "link")},
            **_times(problem, "since", "last_good", "next_try"),
        },
    }


def _times(of: object, *names: str) -> dict[str, str | None]:
    times: dict[str, datetime | None] = {name: getattr(of, name) for name in names}
    return {name: at.isoformat() if at else None for name, at in times.items()}


# --------------------------------------------------------------------------------------------------------------- Slack


def notice(message: Message) -> str:
    """What a notification of Slack shows, and what readers without blocks see."""
    return fitted(line(message), _NOTICE, escaped)


def blocks(message: Message) -> list[dict[str, Any]]:
    """Slack's Block Kit, within its limits whatever the message holds."""
    problem = message.incident.problem
    sign = "🟢" if message.change is Change.RECOVERED else _SIGNS[problem.severity]
    shown: list[dict[str, Any]] = [
        {"type": "header", "text": _plain(fitted(f"{sign} {' '.join(title(message).split())}", HEADER))},
        {"type": "section", "text": _plain(fitted(problem.what or "No words were given.", TEXT))},
        {"type": "section", "fields": [_field(label, words) for label, words in rows(message)][:FIELDS]},
    ]
    if problem.fix:
        command = fitted(problem.fix.replace("```", "'''"), TEXT - 100, escaped)
        shown.append({"type": "section", "text": _marked(f"{_says_of_command(message)}\n```{command}```")})
    return [*shown, {"type": "context", "elements": [_marked(_footer(message))]}]


def answer(message: Message) -> list[dict[str, Any]]:
    """What is said in the thread of an incident: only the news, the message above it has the rest."""
    return [{"type": "section", "text": _plain(fitted(line(message), TEXT))}]


def escaped(words: str) -> str:
    """As Slack wants it; it also keeps `<!channel>` in a text from calling everybody."""
    return words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def fitted(words: str, limit: int, escape: Callable[[str], str] = str) -> str:
    """The words, escaped, in at most `limit` characters; never cut inside of what escaping made."""
    whole = escape(words)
    if len(whole) <= limit:
        return whole
    parts: list[str] = []
    room = limit - 1
    for part in map(escape, words):
        room -= len(part)
        if room < 0:
            break
        parts.append(part)
    return "".join(parts) + "…"


def _footer(message: Message) -> str:
    link = message.incident.problem.link
    about = f"incident {reference(message.incident)}"
    if link is None or len(link) > TEXT - 100 or "|" in link or ">" in link:
        return about
    return f"<{escaped(link)}|{'Look at it' if is_question(message) else 'Open the run'}> · {about}"


def _field(label: str, words: str) -> dict[str, Any]:
    return _marked(f"*{label}*\n{fitted(words, FIELD - 100, escaped)}")


def _plain(words: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": words, "emoji": False}


def _marked(words: str) -> dict[str, Any]:
    # verbatim: Slack makes no links of its own out of what a text holds.
    return {"type": "mrkdwn", "text": words, "verbatim": True}
