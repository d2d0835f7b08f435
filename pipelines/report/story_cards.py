"""Findings and proposals as cards: each says its sentence, how sure it is, and what would change that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pipelines.evidence import Finding, RuleRefusal, State, Status
from pipelines.report import figures, page
from pipelines.report import story_words as words
from pipelines.report.markup import Markup, cut, joined, tag
from pipelines.report.story import ProposalTold

_NAME = 64
_GLUE = "\N{NO-BREAK SPACE}"
_FIRM = (Status.CREDIBLE, Status.NO_EFFECT)
_OPEN_STATES = (State.PENDING_APPROVAL, State.APPROVED, State.EXECUTING, State.MONITORING)
_BAD_STATES = (State.BLOCKED, State.FAILED, State.STUCK, State.HARMFUL)


def finding(its: Finding, called: Mapping[str, str]) -> Markup:
    """The sentence, the effect with its interval, what the status means, and every check."""
    meaning = words.MEANINGS[its.status]
    who = words.group(its.subject_kind, cut(its.subject, _NAME) if its.subject else "")
    about = f"{who}: " if its.subject else ""
    parts = [tag("h3", chip(f"{meaning.sign} {meaning.word}", "firm" if its.status in _FIRM else ""), about, its.words)]
    if effect := words.effect(its, called):
        parts.append(tag("p", *_effect(effect, firm=its.status in _FIRM)))
    parts.append(tag("p", f"{meaning.means} {' '.join(its.reasons)}".strip()))
    if its.interference:
        parts.append(
            tag("p", "It is about ties between people, so it may spread to others who were counted as unaffected.")
        )
    if seen := words.seen(its):
        parts.append(tag("p", f"Seen: {who}, {seen}.", class_="soft"))
    if its.checks:
        parts.append(page.folded(f"Checks: {words.checks(its)}", _checks(its)))
    return tag("article", *parts)


def _effect(effect: str, *, firm: bool) -> tuple[str, ...]:
    """Bold only where the number may be relied on."""
    told = effect[:1].upper() + effect[1:]
    interval = f" (95{_GLUE}%{_GLUE}interval)."
    return (tag("b", told), interval) if firm else ("Measured, but not to be relied on: ", told, interval)


def _checks(its: Finding) -> Markup:
    rows = [
        (f"{words.CHECK_SIGNS[check.result]} {words.CHECK_WORDS[check.result]}",
         check.name + (" (must hold)" if check.gate else ""), check.words)
        for check in sorted(its.checks, key=lambda check: not check.gate)
    ]  # fmt: skip
    rows += [
        ("", f"estimated by {spec.method}", words.interval(spec.effect, spec.ci_low, spec.ci_high))
        for spec in its.specs
    ]
    caption = "What could have refuted it, and the same by other methods for one more unit of the cause."
    return page.table(caption, ("Result", "Check", "What it says"), rows, 3)


def chip(label: str, kind: str = "") -> Markup:
    return tag("span", label, class_=f"chip {kind}".strip())


def proposal(its: ProposalTold) -> Markup:
    """What exactly would happen, what it should bring, how it is undone, and what stands in its way."""
    kind = "firm" if its.state in _OPEN_STATES else "warn" if its.state in _BAD_STATES else ""
    who = " and ".join(cut(name, _NAME) for name in its.subject.split("|")) if its.subject else words.ORGANISATION
    entries = [("Why", its.because), ("What exactly would happen", its.what), ("How it is undone", its.undo)]
    entries.append(("What it should bring", _expected(its)))
    entries.append(("Impact", f"{its.impact}; at least {figures.counted(its.people, 'person', 'people')}"))
    if its.expires:
        entries.append(("Decide by", figures.minute(its.expires)))
    if its.next_step:
        entries.append(("Next step", its.next_step))
    head = tag("h3", chip(words.STATES[its.state], kind), f"{who} ", tag("span", its.id, class_="soft"))
    listed = tag("dl", *(joined(tag("dt", term), tag("dd", text)) for term, text in entries if text))
    return tag("article", head, listed, *_refusals(its.refusals))


def _expected(its: ProposalTold) -> str:
    told = words.expected(its)
    return f"{told} (95{_GLUE}%{_GLUE}interval)" if told else "not calculated: nothing credible to calculate it from"


def _refusals(refusals: Iterable[RuleRefusal]) -> Iterable[Markup]:
    items = [refusal_item(refusal) for refusal in refusals]
    if items:
        yield tag("p", tag("b", "What stands in its way"))
        yield tag("ul", *items)


def refusal_item(refusal: RuleRefusal) -> Markup:
    unblocks = (" ", tag("b", "What would change that: "), refusal.unblocks) if refusal.unblocks else ()
    return tag("li", f"{refusal.words.rstrip('.')}.", *unblocks)
