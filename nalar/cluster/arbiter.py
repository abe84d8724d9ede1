"""The arbiter: which suggestions of policies become directives, and why others do not. Pure.

A person's word goes before any policy's, and the word of a policy that is named first before those
of the others. What stands is not repeated, what has just changed rests, and nothing goes beyond the
bounds. Each refusal has a reason; one that no race explains is a fault of the policy.
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from nalar.bus.subjects import slot_of
from nalar.cluster.bounds import Bounds, absence, is_known, misuse
from nalar.cluster.policy import Migrate, Single, Suggestion, Together, Withdraw
from nalar.cluster.quota import Quota, lasts, share
from nalar.cluster.reasons import reason_of
from nalar.cluster.view import ClusterView
from nalar.directives import (
    BY_HAND,
    Directive,
    Drain,
    Issued,
    Kill,
    Order,
    Provision,
    Route,
    SetPriority,
    key_of,
)
from nalar.ids import RootId

#: A directive that has returned to what it was so often within so many seconds oscillates.
RETURNS_MAX: Final = 4
OSCILLATION_S: Final = 120.0
#: A policy that within that time ends more workers than there are, and more than this, ends them
#: as fast as they start.
ENDS_MAX: Final = 8
#: For so long after a policy has asked for something, one that is named later cannot change it.
HOLD_S: Final = 10.0
#: What is remembered is looked through for what is old once there is so much of it.
_PRUNE_MIN: Final = 1_000


@dataclass(frozen=True, slots=True)
class Granted:
    """A directive that is to stand from now on, or no longer."""

    policy: str
    directive: Directive
    reason: str
    withdrawn: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """A suggestion that is not followed."""

    policy: str
    suggestion: Suggestion
    reason: str


@dataclass(slots=True)
class Verdict:
    """What one decision comes to."""

    granted: list[Granted] = field(default_factory=list[Granted])
    refused: list[Refused] = field(default_factory=list[Refused])
    #: What policies have done that they must not: policy -> what.
    faults: dict[str, str] = field(default_factory=dict[str, str])
    #: The same for what may be a mistake, and is forgiven if it does not go on.
    slips: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(slots=True)
class _History:
    """How a directive has changed."""

    at_s: float
    #: What stood, the newest last; None: nothing.
    values: list[Directive | None]
    #: When it returned to what it had been.
    returns_s: list[float] = field(default_factory=list[float])


@dataclass(frozen=True, slots=True)
class _Asking:
    """A policy's turn in a decision."""

    view: ClusterView
    policy: str
    #: Policies that are named before it.
    first: frozenset[str]
    #: Who has asked about what in this decision.
    before: dict[str, str]
    quota: Quota
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class _Case:
    """A suggestion beside what stands."""

    suggestion: Single
    directive: Directive
    #: What is to stand; None: nothing.
    wanted: Directive | None
    key: str
    stands: Issued | None

    @property
    def stands_already(self) -> bool:
        return self.wanted == (None if self.stands is None else self.stands.directive)

    def adds_to(self, policy: str) -> bool:
        """Say whether more would stand that this policy has to withdraw one day."""
        theirs = self.stands is None or self.stands.by != policy
        return self.wanted is not None and theirs and lasts(self.wanted)

    @property
    def is_cut(self) -> bool:
        """Whether it goes less far than was asked."""
        asks = not isinstance(self.suggestion, Migrate | Withdraw)
        return asks and self.directive != self.suggestion


class Arbiter:
    """Judges suggestions; remembers what has changed when."""

    def __init__(self, bounds: Bounds | None = None) -> None:
        self.bounds = bounds or Bounds()
        self._histories: dict[str, _History] = {}
        #: Who has asked for what stands, and when last.
        self._asked: dict[str, tuple[str, float]] = {}
        self._prune_at = _PRUNE_MIN
        self._moves, self._moves_at_s = self.bounds.migrations_per_s, 0.0
        #: Who has ended a worker, and when, the newest last.
        self._ends: deque[tuple[float, str]] = deque()
        #: Requests that have ended, whose priorities may still stand; the first to go first.
        self._ended: dict[RootId, None] = {}

    def judge(
        self, view: ClusterView, asked: Sequence[tuple[str, Sequence[Suggestion]]]
    ) -> Verdict:
        """Return what is granted and refused of what each policy asks, in their order."""
        verdict, before = Verdict(), dict[str, str]()
        left = self.bounds.changes_max
        self._refill(view.now_s)
        for number, (policy, suggestions) in enumerate(asked):
            if len(suggestions) > self.bounds.suggestions_max:
                verdict.faults[policy] = (
                    f"made more than {self.bounds.suggestions_max} suggestions at once"
                )
                continue
            first = frozenset(name for name, _ in asked[:number])
            most = share(left, followed=number < len(asked) - 1)
            quota = Quota(most, self.bounds.standing_max - view.standing.lasting(policy))
            asking = _Asking(view, policy, first, before, quota, verdict)
            for suggestion in suggestions:
                if reason := self._judge(asking, suggestion):
                    verdict.refused.append(Refused(policy, suggestion, reason))
            left -= most - quota.changes
        self._withdraw_ended(view, before, verdict)
        self._prune(view.now_s)
        return verdict

    def _judge(self, asking: _Asking, suggestion: Suggestion) -> str:
        """Grant a suggestion, or return why not; nothing at all when there is nothing to do."""
        if mistake := misuse(asking.view, suggestion):
            asking.verdict.slips[asking.policy] = mistake
            return mistake
        parts = suggestion.directives if isinstance(suggestion, Together) else (suggestion,)
        cases: list[_Case] = []
        for part in parts:
            case, reason = self._look_at(asking, part, alone=part is suggestion)
            if reason:
                return reason
            if case is not None:
                cases.append(case)
        return self._follow(asking, cases)

    def _follow(self, asking: _Asking, cases: Sequence[_Case]) -> str:
        """Grant what is a change, if it is not too much; else return why not."""
        changes = [case for case in cases if not case.stands_already]
        if reason := self._excess(asking, changes):
            return reason
        for case in changes:
            self._grant(asking, case)
        for case in cases:
            if case.wanted is not None:
                self._asked[case.key] = (asking.policy, asking.view.now_s)
        return ""

    def _excess(self, asking: _Asking, changes: Sequence[_Case]) -> str:
        """Take changes from the policy's quota, or return what there would be too much of."""
        added = [case for case in changes if case.adds_to(asking.policy)]
        if added and len(added) > asking.quota.lasting:
            reason = f"more than {self.bounds.standing_max:,} directives of it would stand"
            # Many that are about what is there: a large cluster, or a slow leak. It is refused.
            if asking.policy not in asking.verdict.slips and not all(
                is_known(asking.view, case.directive) for case in added
            ):
                asking.verdict.slips[asking.policy] = reason
            return reason
        if len(changes) > asking.quota.changes:
            most = self.bounds.changes_max
            return f"its share of the {most:,} directives that may change at once is used up"
        asking.quota.take(len(changes), len(added))
        return ""

    def _look_at(
        self, asking: _Asking, suggestion: Single, *, alone: bool
    ) -> tuple[_Case | None, str]:
        """Return what a suggestion is about, None for nothing, and why it is not followed."""
        if absent := absence(asking.view, suggestion):
            return None, absent
        directive, wanted = self._directive(asking.view, suggestion)
        if directive is None:
            return None, ""
        key = key_of(directive)
        other = asking.before.setdefault(key, asking.policy)
        if other != asking.policy:
            return None, f"{other} is named first, and has asked about the same"
        case = _Case(suggestion, directive, wanted, key, asking.view.standing.get(key))
        if case.is_cut and not alone:
            return None, "a part of it goes further than the bounds allow"
        if case.stands_already:
            return case, ""
        rests = self._unrest(asking.view.now_s, case)
        return case, self._others_word(asking, case) or rests or self._haste(asking.view, case)

    def _directive(
        self, view: ClusterView, suggestion: Single
    ) -> tuple[Directive | None, Directive | None]:
        """Return the directive that a suggestion is about, if any, and what is to stand there."""
        if isinstance(suggestion, Withdraw):
            return suggestion.directive, None
        if isinstance(suggestion, Migrate):
            known = view.sessions.get((suggestion.agent, suggestion.session))
            if known is not None and known.worker == suggestion.to:
                return None, None
            slots = view.workers[suggestion.to].slots[suggestion.agent]
            slot = slots[slot_of(suggestion.session, len(slots))]
            directive = Route(suggestion.agent, suggestion.session, slot)
        else:
            directive = self.bounds.within(suggestion)
        return directive, directive

    def _others_word(self, asking: _Asking, case: _Case) -> str:
        """Return whose word goes before this policy's; empty for nobody's."""
        stands = case.stands
        if stands is None:
            return ""
        if stands.by == BY_HAND:
            return "a person has directed otherwise, and would have to withdraw that"
        by, at_s = self._asked.get(case.key, (stands.by, stands.at_s))
        if by in asking.first and asking.view.now_s - at_s < HOLD_S:
            return f"{by} is named first, and has asked otherwise"
        return ""

    def _unrest(self, now_s: float, case: _Case) -> str:
        """Return why a change would come too soon; empty when it does not."""
        history = self._histories.get(case.key)
        rest_s, changed_s = self.bounds.rest_of(case.directive), -math.inf
        if history is not None:
            rest_s *= 2.0 ** sum(now_s - at_s < OSCILLATION_S for at_s in history.returns_s)
            changed_s = history.at_s
        elif case.stands is not None:
            changed_s = case.stands.at_s
        if now_s - changed_s < rest_s:
            return f"it has changed {now_s - changed_s:.1f} s ago, and rests for {rest_s:g} s"
        if isinstance(case.wanted, Route) and self._moves < 1:
            return f"more than {self.bounds.migrations_per_s:g} sessions would move in a second"
        return ""

    def _haste(self, view: ClusterView, case: _Case) -> str:
        """Return why a worker cannot be ended now; empty where none is, or it can."""
        if not isinstance(case.wanted, Drain | Kill):
            return ""
        most, lately_s = self._ends_most(view), view.now_s - self.bounds.ends_s
        if sum(at_s > lately_s for at_s, _ in self._ends) < most:
            return ""
        there, within_s = len(view.workers), self.bounds.ends_s
        return f"more than {most} of {there} workers would be ended within {within_s:g} s"

    def _ends_most(self, view: ClusterView) -> int:
        return max(1, int(self.bounds.ends_share * len(view.workers)))

    def _note_end(self, asking: _Asking) -> None:
        """A worker is ended; a policy that goes on so leaves nobody to work."""
        now_s = asking.view.now_s
        self._ends.append((now_s, asking.policy))
        while now_s - self._ends[0][0] > OSCILLATION_S:
            self._ends.popleft()
        ended = sum(by == asking.policy for _, by in self._ends)
        if ended > max(ENDS_MAX, len(asking.view.workers)):
            asking.verdict.faults[asking.policy] = "ends workers as fast as they start"

    def _grant(self, asking: _Asking, case: _Case) -> None:
        if isinstance(case.wanted, Route):
            self._moves -= 1
        elif isinstance(case.wanted, Drain | Kill):
            self._note_end(asking)
        reason = reason_of(asking.view, case.suggestion)
        if case.is_cut:
            reason = f"{reason}; more was asked than the bounds allow".removeprefix("; ")
        asking.verdict.granted.append(
            Granted(asking.policy, case.directive, reason, withdrawn=case.wanted is None)
        )
        if self._oscillates(asking.view.now_s, case):
            asking.verdict.faults[asking.policy] = f"moves {case.key} to and fro"

    def _oscillates(self, now_s: float, case: _Case) -> bool:
        """Remember a change; say whether it is one of many, to and fro, that cost something."""
        history = self._histories.get(case.key)
        if history is None:
            before = None if case.stands is None else case.stands.directive
            self._histories[case.key] = _History(now_s, [before, case.wanted])
            return False
        history.returns_s = [at_s for at_s in history.returns_s if now_s - at_s < OSCILLATION_S]
        # A count of workers that follows the load comes back to many a number in between.
        counts = isinstance(case.directive, Provision)
        if case.wanted in (history.values[-2:-1] if counts else history.values[:-1]):
            history.returns_s.append(now_s)
        history.at_s = now_s
        history.values = [*history.values[-RETURNS_MAX:], case.wanted]
        free = isinstance(case.directive, Route | SetPriority | Order)
        return not free and len(history.returns_s) >= RETURNS_MAX

    def _withdraw_ended(self, view: ClusterView, before: dict[str, str], verdict: Verdict) -> None:
        """Take back what policies have directed for requests that have ended, not all at once."""
        ended = sorted(root for root in view.changed_requests if root not in view.requests)
        self._ended |= dict.fromkeys(ended)
        left = self.bounds.changes_max
        while self._ended and left:
            root = next(iter(self._ended))
            del self._ended[root]
            key = key_of(SetPriority("request", root, 0))
            stands = view.standing.get(key)
            if root in view.requests or stands is None or stands.by == BY_HAND or key in before:
                continue
            left -= 1
            verdict.granted.append(
                Granted(stands.by, stands.directive, "the request has ended", withdrawn=True)
            )

    def _refill(self, now_s: float) -> None:
        most = self.bounds.migrations_per_s
        self._moves = min(most, self._moves + most * max(0.0, now_s - self._moves_at_s))
        self._moves_at_s = now_s

    def _prune(self, now_s: float) -> None:
        """Forget what has not changed for long, now and then."""
        if len(self._histories) + len(self._asked) < self._prune_at:
            return
        for key, history in list(self._histories.items()):
            if now_s - history.at_s > OSCILLATION_S:
                del self._histories[key]
        for key, (_, at_s) in list(self._asked.items()):
            if now_s - at_s > HOLD_S:
                del self._asked[key]
        self._prune_at = _PRUNE_MIN + 2 * (len(self._histories) + len(self._asked))
