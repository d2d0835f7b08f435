"""Every error that crosses a module boundary, on one page.

Stores translate their driver's errors into these at their own edge, so that a job decides by kind and never by driver.
A message says what was seen, what was expected and what to do; it never carries a secret, a personal id or a payload.
"""

from typing import Any


class OrganismError(Exception):
    """Root of all errors that we raise on purpose. step: the step of a run that used up all its attempts, if it was one."""

    step: str | None = None


class TransientError(OrganismError):
    """The same call may succeed later: a store is away, a deadlock, a time-out. Steps retry these and only these."""


class CommitUnknown(TransientError):
    """The connection broke while COMMIT was under way: done or not done, nobody can say.

    The caller runs the whole transaction again with a new attempt token; the ledger makes that safe. Nothing may be
    acknowledged on this error.
    """


class WriteConflict(TransientError):
    """Another writer got there first and nothing of ours was written. Run the transaction again at once."""


class PermanentError(OrganismError):
    """Trying again changes nothing: wrong credentials, a broken query, a file that cannot be read."""


class Defect(PermanentError):
    """An error that is not ours, told by its kind and place: its own text may hold what must not leave."""


class InvalidInput(PermanentError):
    """What the user gave is wrong (a file, an option, a setting). Exit code 2."""


class TooManyInvalid(PermanentError):
    """The circuit breaker: more of a batch is invalid than can be chance. Nothing was dead-lettered; all stays pending."""


class Refused(OrganismError):
    """A rule said no. Not a failure: ledger SKIPPED, HTTP 409, exit code 3, and nobody is paged.

    Args:
        code: stable upper-case code, for machines.
        sentence: what was refused and why, for people.
    """

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(f"{code}: {sentence}")
        self.code = code
        self.sentence = sentence

    def __reduce__(self) -> tuple[Any, ...]:
        """So that it comes back whole from another process."""
        return type(self), (self.code, self.sentence)
