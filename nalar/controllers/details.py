"""What a worker tells of single sessions and requests, and what of that has changed. Pure."""

from copy import copy
from dataclasses import dataclass, field

from nalar.controllers.line import Line
from nalar.controllers.local_call import LocalCall, Place
from nalar.controllers.local_events import Arrived
from nalar.controllers.ranking import Traits
from nalar.controllers.untold import take_next
from nalar.ids import AgentName, RootId, SessionId
from nalar.reports import Report, RequestLoad, SessionLoad

_SessionKey = tuple[AgentName, SessionId]


@dataclass(slots=True)
class _Session:
    load: SessionLoad = field(default_factory=SessionLoad)
    line: Line = field(default_factory=Line)
    #: Calls that are here, wherever they stand.
    held: int = 0
    #: Whether a report has named it.
    told: bool = False


@dataclass(slots=True)
class _Request:
    load: RequestLoad
    held: int = 0
    told: bool = False
    #: Its own call has ended.
    over: bool = False


class Details:
    """The books of sessions and requests."""

    def __init__(self, kept_s: float, kept_max: float, entries_max: int) -> None:
        #: For how long, and how many, requests are remembered without a call of theirs here.
        self._kept_s, self._kept_max = kept_s, kept_max
        #: Sessions, and requests, in one report at the most.
        self.entries_max = entries_max
        self._sessions: dict[_SessionKey, _Session] = {}
        self._requests: dict[RootId, _Request] = {}
        #: Requests without a call here, and since when.
        self._idle: dict[RootId, float] = {}
        #: In the order in which they are told.
        self._changed_sessions: dict[_SessionKey, None] = {}
        self._changed_requests: dict[RootId, None] = {}
        #: What is still to be told of all there was when a full report was asked for.
        self._left_sessions: dict[_SessionKey, None] = {}
        self._left_requests: dict[RootId, None] = {}

    @property
    def changed(self) -> bool:
        """Whether there is anything to tell."""
        return bool(
            self._changed_sessions
            or self._changed_requests
            or self._left_sessions
            or self._left_requests
        )

    def tell_all(self) -> None:
        """Somebody knows nothing: all there is, is to be told."""
        self._left_sessions = dict.fromkeys(self._sessions)
        self._left_requests = dict.fromkeys(self._requests)

    def put_into(self, report: Report) -> None:
        """Put what is told next into a report."""
        most = self.entries_max
        for key in take_next(self._changed_sessions, self._left_sessions, most):
            report.sessions.setdefault(key[0], {})[key[1]] = self._told_session(key)
        for root in take_next(self._changed_requests, self._left_requests, most):
            report.requests[root] = self._told_request(root)

    def _told_session(self, key: _SessionKey) -> SessionLoad | None:
        session = self._sessions.get(key)
        if session is None:
            return None
        session.told = True
        session.load.oldest_at = session.line.oldest_at()
        return copy(session.load)

    def _told_request(self, root: RootId) -> RequestLoad | None:
        request = self._requests.get(root)
        if request is None:
            return None
        request.told = True
        return copy(request.load)

    # What happens.

    def move(self, call: LocalCall, was: Place | None, place: Place | None, now_s: float) -> None:
        """A call stands elsewhere; None: it was not known before, or it has ended."""
        arrival = call.arrival
        traits = arrival.traits
        assert traits.agent is not None, "a call is of an agent"
        held = (place is not None) - (was is not None)
        waits = _waits(place) - _waits(was)
        runs = (place is Place.RUNNING) - (was is Place.RUNNING)
        root = RootId(traits.root)
        request = self._request(root, traits, arrival.stop_at)
        request.held += held
        request.load.queued += waits
        request.load.running += runs
        if not request.held:
            self._rest(root, request, now_s)
        if arrival.slot is None:
            return
        session = self._session(traits.agent, arrival)
        session.held += held
        session.load.queued += waits
        session.load.running += runs
        if waits:
            session.line.change(call, waits)
        if not session.held:
            self._drop_session((traits.agent, SessionId(traits.session)), session)

    def ended(self, traits: Traits, deadline: float, ended_s: float, busy_s: float) -> None:
        """A call of a request that goes on has ended."""
        root = RootId(traits.root)
        request = self._request(root, traits, deadline)
        request.load.finished += 1
        request.load.busy_s += busy_s
        if not request.held:
            self._rest(root, request, ended_s)

    def forget(self, root: RootId) -> None:
        """A request has ended."""
        request = self._requests.get(root)
        if request is not None:
            request.over = True
            if not request.held:
                self._drop_request(root)

    # Sessions are there for as long as a call of theirs is.

    def _session(self, agent: AgentName, arrival: Arrived) -> _Session:
        key = (agent, SessionId(arrival.traits.session))
        self._changed_sessions[key] = None
        session = self._sessions.get(key)
        if session is None:
            session = self._sessions[key] = _Session()
        load = session.load
        load.slot, load.tenant = arrival.slot or 0, arrival.traits.tenant
        load.priority = arrival.priority
        return session

    def _drop_session(self, key: _SessionKey, session: _Session) -> None:
        del self._sessions[key]
        if not session.told:
            del self._changed_sessions[key]

    # Requests stay for a while when no call of theirs is here: others may come.

    def _request(self, root: RootId, traits: Traits, deadline: float) -> _Request:
        self._changed_requests[root] = None
        request = self._requests.get(root)
        if request is None:
            load = RequestLoad(tenant=traits.tenant, deadline=deadline)
            request = self._requests[root] = _Request(load)
        request.load.depth = max(request.load.depth, traits.depth)
        return request

    def _rest(self, root: RootId, request: _Request, now_s: float) -> None:
        """No call of the request is here now."""
        if request.over:
            self._drop_request(root)
        else:
            self._idle.pop(root, None)
            self._idle[root] = now_s

    def forget_idle(self, now_s: float) -> None:
        """Forget requests that have had no call here for long."""
        while self._idle:
            root, since_s = next(iter(self._idle.items()))
            if len(self._idle) <= self._kept_max and now_s - since_s < self._kept_s:
                return
            if self._requests[root].held:
                del self._idle[root]  # Others have come.
            else:
                self._drop_request(root)

    def _drop_request(self, root: RootId) -> None:
        request = self._requests.pop(root)
        self._idle.pop(root, None)
        if request.told:
            self._changed_requests[root] = None
        else:
            self._changed_requests.pop(root, None)


def _waits(place: Place | None) -> bool:
    return place is not None and place.waits
