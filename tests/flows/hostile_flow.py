"""A flow whose step, or whose body, fails with an error of somebody else that quotes what it must not: `step|body WORDS`."""

from __future__ import annotations

import sys

from pipelines import skin, steps
from pipelines.jobs import flows


def verify(words: str) -> int:
    held = {"locals": words}
    raise KeyError(held["locals"])


@skin.scheduled(flows.VERIFY)
def hostile(where: str, words_file: str) -> int:
    with open(words_file) as file:
        words = file.read()
    if where == "step":
        quick = steps.Retry(attempts=1, base_s=0, factor=1, jitter=0, timeout_s=60)
        return skin.tasks({"verify": quick})(verify, words)
    raise ValueError(words)


if __name__ == "__main__":
    state = hostile(sys.argv[1], sys.argv[2], return_state=True)
    print(state.name, state.message)
