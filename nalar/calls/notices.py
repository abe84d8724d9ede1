"""Notices of cancellation: what stands in the control bucket, and what a worker knows of it. Pure.

`cancel.<future>` ends a call and all calls that come of it; a request's own call has the id of its
root, so `cancel.<root>` ends a whole run. Calls name their parent and their root in their ref: who
knows the notices can tell for each call whether one covers it.
"""

import math
from typing import Final

import orjson

from nalar.ids import Ref

#: Where notices are kept, in the control bucket.
CANCEL: Final = "cancel"
#: Notices that a worker remembers; the oldest are forgotten first.
REMEMBERED_MAX: Final = 100_000


def notice_key(token: str) -> str:
    """Return the key of the notice that ends the call or run `token`."""
    return f"{CANCEL}.{token}"


def notice_token(key: str) -> str:
    """Return the call or run that the notice under `key` is about."""
    return key.removeprefix(f"{CANCEL}.")


def encode_notice(at_s: float, until_s: float) -> bytes:
    """Return the value of a notice given at `at_s` that holds until `until_s`, Unix times."""
    return orjson.dumps({"at": at_s, "until": until_s})


def notice_until(value: bytes) -> float:
    """Return until when a notice holds; 0 for what is none, so that it is forgotten at once."""
    try:
        until_s = float(orjson.loads(value)["until"])
        return until_s if math.isfinite(until_s) else 0.0
    except (ValueError, TypeError, KeyError):
        return 0.0


class Notices:
    """The notices that one worker knows of."""

    def __init__(self, remembered_max: int = REMEMBERED_MAX) -> None:
        self._remembered_max = remembered_max
        #: Token -> until when it holds, Unix time; in the order in which they came.
        self._until: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._until)

    def __contains__(self, token: object) -> bool:
        return token in self._until

    def add(self, token: str, until_s: float) -> bool:
        """Remember a notice; return whether it was not known."""
        known = token in self._until
        self._until[token] = until_s
        if len(self._until) > self._remembered_max:
            del self._until[next(iter(self._until))]
        return not known

    def covers(self, ref: Ref) -> bool:
        """Say whether a call is cancelled: it, the one that made it, or its whole run."""
        until = self._until
        return bool(until) and (ref.future in until or ref.parent in until or ref.root in until)

    def forget_before(self, now_s: float) -> None:
        """Forget notices that hold no longer: their calls have passed their deadline."""
        gone = [token for token, until_s in self._until.items() if until_s <= now_s]
        for token in gone:
            del self._until[token]


def concerns(token: str, ref: Ref) -> bool:
    """Say whether the notice of `token` covers the call at `ref`."""
    return token in (ref.future, ref.parent, ref.root)
