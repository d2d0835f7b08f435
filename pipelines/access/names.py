"""Names of users: plain ASCII, so that two that look alike are one, and none that a log line would take out. Pure."""

from __future__ import annotations

import re

from pipelines.errors import InvalidInput

_SHAPE = re.compile(r"[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?", re.ASCII)
_PSEUDONYM = re.compile(r"[px]_[0-9a-f]{16,40}", re.ASCII)
#: What stands for a name that cannot be one: nobody has it, because names start with a letter or a digit.
NOBODY = "-"


def folded(name: str) -> str:
    """The name as it is kept, of whatever somebody typed; `NOBODY` for what is no name.

    Letters of any case are one, and nothing else is: who counts logins by the folded name must not count one user as many.
    """
    text = name.casefold()
    return text if _SHAPE.fullmatch(text) else NOBODY


def checked(name: str) -> str:
    """A name for a new user, as it is kept.

    Raises:
        InvalidInput: what a name is.
    """
    text = folded(name)
    if text == NOBODY or _PSEUDONYM.fullmatch(text):
        raise InvalidInput(
            "a user name has 1 to 64 letters a-z, digits, dots, hyphens or underscores, starts and ends with a letter or"
            " a digit, and is neither an address nor a pseudonym; such as anna.berg"
        )
    return text
