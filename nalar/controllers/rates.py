"""How many calls may start, and how many tokens they may use, in a minute. Pure.

Each limit is a bucket that fills with time: a call takes from it when it starts, tokens by what
such calls have used, and what it has really used is settled when it has ended. A bucket may go
into debt; then nothing more starts until time has filled it again. Each worker has its share.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from nalar.controllers.ranking import Traits
from nalar.directives import Limit, LimitScope
from nalar.ids import AgentName, encode_token

#: So much may be saved up while nothing starts, in seconds of the rate.
_BURST_S: Final = 10.0
_MINUTE_S: Final = 60.0
#: Models that are known of one method; more than that are no models.
_MODELS_MAX: Final = 16
#: Weight of the newest call in what calls of a method usually use.
_SMOOTHING: Final = 0.1

#: What a limit is about: its scope and name.
LimitKey = tuple[LimitScope, str | None]


class _Bucket:
    """Fills with time, up to what may be saved up."""

    __slots__ = ("level", "per_s")

    def __init__(self) -> None:
        self.per_s = 0.0
        self.level = 0.0

    @property
    def _most(self) -> float:
        return max(1.0, self.per_s * _BURST_S)

    def set(self, per_s: float, *, new: bool) -> None:
        self.per_s = per_s
        self.level = self._most if new else min(self.level, self._most)

    def fill(self, seconds: float) -> None:
        self.level = max(self.level, min(self._most, self.level + self.per_s * seconds))

    def has(self, amount: float) -> bool:
        """Say whether there is so much; for more than can be saved up, whether it is full."""
        return self.per_s > 0 and self.level >= min(amount, self._most)


@dataclass(slots=True)
class _Limited:
    """A standing limit with its buckets."""

    directive: Limit
    requests: _Bucket | None = None
    tokens: _Bucket | None = None


@dataclass(slots=True)
class _Reserved:
    """What a running call has taken."""

    traits: Traits
    #: Tokens by the limit that they were taken from.
    tokens: dict[LimitKey, float] = field(default_factory=dict[LimitKey, float])


class Rates:
    """The standing limits of one worker on what happens in a minute."""

    def __init__(self) -> None:
        self._limits: dict[LimitKey, _Limited] = {}
        self._reserved: dict[str, _Reserved] = {}
        #: By agent and method: the tokens of each model that a call of it uses, smoothed.
        self._usual: dict[tuple[str | None, str], dict[str, float]] = {}
        self._now_s = 0.0
        #: Live workers: in all, and those that serve an agent.
        self._workers = 1
        self._serving: Mapping[AgentName, int] = {}

    def limit(self, directive: Limit, *, withdrawn: bool) -> None:
        """Obey a directive, or no longer; what is used up stays used up."""
        key = (directive.scope, directive.name)
        known = self._limits.pop(key, None)
        rates = (directive.requests_per_min, directive.tokens_per_min)
        if not withdrawn and any(rate is not None for rate in rates):
            limited = self._limits[key] = _Limited(directive)
            if known is not None:
                limited.requests, limited.tokens = known.requests, known.tokens
            self._share(key, limited)

    def share(self, workers: int, serving: Mapping[AgentName, int]) -> None:
        """Others have come or gone: each live worker has an equal share of every rate."""
        self._workers, self._serving = workers, serving
        for key, limited in self._limits.items():
            self._share(key, limited)

    def _share(self, key: LimitKey, limited: _Limited) -> None:
        scope, name = key
        sharers = self._workers
        if scope == "agent":
            sharers = self._serving.get(AgentName(name or ""), 1)
        by_s = _MINUTE_S * max(1, sharers)
        asked = limited.directive
        limited.requests = _shared(limited.requests, asked.requests_per_min, by_s)
        limited.tokens = _shared(limited.tokens, asked.tokens_per_min, by_s)

    def at(self, now_s: float) -> None:
        """Time has passed."""
        if self._limits and self._now_s:
            for limited in self._limits.values():
                for bucket in (limited.requests, limited.tokens):
                    if bucket is not None:
                        bucket.fill(now_s - self._now_s)
        self._now_s = max(self._now_s, now_s)

    def is_empty(self, key: LimitKey, traits: Traits | None = None) -> bool:
        """Say whether the limit lets nothing, or no call like this one, start now."""
        limited = self._limits.get(key)
        if limited is None:
            return False
        needed = 0.0 if traits is None else self._needed(key, traits)
        return (limited.requests is not None and not limited.requests.has(1.0)) or (
            limited.tokens is not None and not limited.tokens.has(needed)
        )

    def room(self, key: LimitKey) -> int:
        """Return how many calls the limit lets start now, as far as it counts calls."""
        limited = self._limits.get(key)
        if limited is None or limited.requests is None:
            return 0
        return int(limited.requests.level)

    def empty(self, traits: Traits) -> LimitKey | None:
        """Return a limit that holds such a call back now; None when it may start."""
        if not self._limits:
            return None
        return next((key for key in self._keys(traits) if self.is_empty(key, traits)), None)

    def reserve(self, key: str, traits: Traits) -> None:
        """A call starts: take from each limit what it will use."""
        if not self._limits:
            return
        reserved = self._reserved[key] = _Reserved(traits)
        for about in self._keys(traits):
            limited = self._limits.get(about)
            if limited is None:
                continue
            if limited.requests is not None:
                limited.requests.level -= 1
            if limited.tokens is not None:
                needed = self._needed(about, traits)
                limited.tokens.level -= needed
            else:
                needed = 0.0
            reserved.tokens[about] = needed

    def settle(self, key: str, used: Mapping[str, int] | None) -> None:
        """A call has ended, and has used these tokens, by model."""
        reserved = self._reserved.pop(key, None)
        if reserved is None:
            return
        traits = reserved.traits
        by_model = {encode_token(model): count for model, count in (used or {}).items()}
        self._learn(traits, by_model)
        for about in dict.fromkeys((*reserved.tokens, *self._keys(traits))):
            limited = self._limits.get(about)
            if limited is None:
                continue
            scope, name = about
            spent = by_model.get(name or "", 0) if scope == "model" else sum(by_model.values())
            if limited.tokens is not None:
                limited.tokens.level += reserved.tokens.get(about, 0.0) - spent
            if limited.requests is not None and about not in reserved.tokens and spent:
                limited.requests.level -= 1  # Nobody knew that it would use this model.

    def _learn(self, traits: Traits, used: dict[str, int]) -> None:
        usual = self._usual.setdefault((traits.agent, traits.method), {})
        for model in sorted(used.keys() | usual.keys()):
            count = used.get(model, 0)
            if model in usual:
                usual[model] += _SMOOTHING * (count - usual[model])
            elif len(usual) < _MODELS_MAX:
                usual[model] = float(count)

    def _keys(self, traits: Traits) -> list[LimitKey]:
        """Return what limits of such a call may be about."""
        models = self._usual.get((traits.agent, traits.method), {})
        return [
            ("agent", traits.agent), ("tenant", traits.tenant), *(("model", it) for it in models)
        ]  # fmt: skip

    def _needed(self, key: LimitKey, traits: Traits) -> float:
        usual = self._usual.get((traits.agent, traits.method), {})
        scope, name = key
        return usual.get(name or "", 0.0) if scope == "model" else sum(usual.values())


def _shared(bucket: _Bucket | None, per_min: float | None, by_s: float) -> _Bucket | None:
    """Return the bucket with its share of the rate; a new one where there was none."""
    if per_min is None:
        return None
    shared = bucket or _Bucket()
    shared.set(per_min / by_s, new=bucket is None)
    return shared
