"""From a call on a stub to the invocation that stands for it. Pure.

What a call takes from its caller (session, tenant, deadline, priority, trace) and what its
options change; where its record will stand; and the call that would wait for itself.
"""

from dataclasses import dataclass
from typing import Any

import orjson

from nalar.agents.spec import MethodSpec
from nalar.bus.subjects import LANE_NORMAL, lane_for_priority, slot_lane, slot_of
from nalar.call_policy import CallPolicy
from nalar.calls.lineage import Lineage
from nalar.calls.seen import Seen
from nalar.context import Call, CallOptions
from nalar.errors import ReentrantCall, UsageError
from nalar.futures import Future
from nalar.ids import (
    NO_SESSION,
    FutureId,
    Ref,
    RootId,
    SessionId,
    encode_token,
    keyed_root,
)
from nalar.messages import Invocation, Payload, Record
from nalar.values.signature import Bound
from nalar.values.wire import canonical

#: The parent in the refs of requests with an idempotency key: whoever repeats one, repeats it.
ANYONE = "anyone"


@dataclass(frozen=True, slots=True)
class Heritage:
    """What a call has from its caller, with its own options applied."""

    root: RootId
    session: SessionId
    tenant: str
    priority: int
    #: Unix times in seconds.
    created: float
    deadline: float
    holds: tuple[str, ...] = ()
    path: str = ""
    traceparent: str = ""
    #: What the call itself says of retries and time limits; not handed down.
    policy: CallPolicy | None = None


def begin(root: RootId, options: CallOptions, *, now_s: float, deadline_s: float) -> Heritage:
    """Return the heritage of a new request; one that names no session is its own."""
    return Heritage(
        root=root,
        session=SessionId(root if options.session is None else encode_token(options.session)),
        tenant=encode_token(options.tenant) if options.tenant else "",
        priority=options.priority or 0,
        created=now_s,
        deadline=now_s + (options.deadline_s or deadline_s),
        policy=options.policy,
    )


def keyed(spec: MethodSpec, options: CallOptions) -> RootId | None:
    """Return the id of a request with an idempotency key; None for one without."""
    if options.idempotency_key is None:
        return None
    tenant, session = options.tenant or "", options.session or ""
    return keyed_root(tenant, spec.target, session, options.idempotency_key)


def keyed_ref(spec: MethodSpec, options: CallOptions, root: RootId) -> Ref:
    """Return where the record of a request with an idempotency key stands."""
    heritage = begin(root, options, now_s=0.0, deadline_s=0.0)
    return address(spec, heritage, ANYONE, FutureId(root))


def inherit(caller: Call, options: CallOptions, *, now_s: float) -> Heritage:
    """Return the heritage of a call made by `caller`; a deadline can only shrink.

    Raises UsageError for an idempotency key: a caller that runs again repeats its calls anyway.
    """
    if options.idempotency_key is not None:
        raise UsageError(
            "idempotency_key is for requests from outside; a call made by an agent is never "
            "repeated under one request, and key=... names it among identical ones"
        )
    deadline = caller.deadline
    if options.deadline_s is not None:
        deadline = min(deadline, now_s + options.deadline_s)
    session = caller.session if options.session is None else encode_token(options.session)
    return Heritage(
        root=caller.ref.root,
        session=SessionId(session),
        tenant=encode_token(options.tenant) if options.tenant else caller.tenant,
        priority=caller.priority if options.priority is None else options.priority,
        created=now_s,
        deadline=deadline,
        holds=caller.holds,
        path=caller.path,
        traceparent=caller.traceparent,
        policy=options.policy,
    )


def address(spec: MethodSpec, heritage: Heritage, parent: str, future: FutureId) -> Ref:
    """Return where the call's record will stand.

    Raises ReentrantCall for a call into a session that one of its callers holds: it would wait
    for that caller, and the caller for it. Read-only methods see committed state instead.
    """
    writes = spec.stateful and not spec.read_only
    place = f"{spec.agent}/{heritage.session}"
    if writes and place in heritage.holds:
        cycle = " > ".join((*heritage.holds[heritage.holds.index(place) :], place))
        raise ReentrantCall(
            f"{spec.target} would wait for itself: session {heritage.session} of {spec.agent} is "
            f"held by a caller of this call ({cycle}). Call it in another session "
            f"(.options(session=...)), make the method read_only, or call the plain method on self"
        )
    return Ref(
        "s" if writes else "r",
        spec.agent,
        heritage.session if writes else NO_SESSION,
        heritage.root,
        parent,
        future,
    )


def draft(
    spec: MethodSpec,
    bound: Bound,
    heritage: Heritage,
    future: Future[Any],
    lineage: Lineage,
    seen: Seen,
) -> Invocation:
    """Return the invocation of a call whose future (and so its address) is made."""
    ref = future.ref
    if ref is None:
        raise UsageError("a combination of futures is no call")
    after, upto = None, 0
    if spec.stateful:
        place = f"{spec.agent}/{heritage.session}"
        after = lineage.follow(future, place, writes=ref.effect == "s")
        if ref.effect == "r":
            upto = seen.upto(spec.agent, heritage.session)
    return Invocation(
        ref=ref,
        method=spec.name,
        session=heritage.session,
        arguments=Payload(bound.text),
        deadline=heritage.deadline,
        created=heritage.created,
        dependencies=bound.dependencies,
        after=after,
        seen=upto,
        tenant=heritage.tenant,
        priority=heritage.priority,
        holds=heritage.holds,
        path=f"{heritage.path} > {spec.label}" if heritage.path else spec.label,
        traceparent=heritage.traceparent,
        resent=lineage.resumed or ref.parent == ANYONE,
        policy=heritage.policy,
    )


def repeats(record: Record, invocation: Invocation) -> bool:
    """Say whether the request that `record` ended had the arguments of `invocation`."""
    return same_arguments(record, invocation.arguments.text, invocation.dependencies)


def same_arguments(record: Record, text: bytes | None, dependencies: tuple[Ref, ...]) -> bool:
    """Say whether a call ended as `record` says had the arguments `text`, in whatever order.

    Arguments that are still futures, or are kept as blobs, are taken to be the same; so is what
    was written, without a method, by who knew no more of the call than its ref.
    """
    theirs = record.arguments.text if record.method else None
    if dependencies or record.dependencies or theirs is None or text is None:
        return True
    return theirs == text or canonical(orjson.loads(theirs)) == canonical(orjson.loads(text))


def other_arguments(target: str) -> str:
    """Return what is wrong with an idempotency key that stands for another request."""
    return f"this idempotency_key was used for {target} with other arguments"


def lane_of(invocation: Invocation, *, stateful: bool, slots: int) -> str:
    """Return the lane that a call belongs in."""
    if stateful:
        return slot_lane(slot_of(invocation.session, slots))
    if invocation.ref.parent == ANYONE:
        # Whoever repeats it, with whatever priority, must meet it under one subject.
        return LANE_NORMAL
    return lane_for_priority(invocation.priority)


def named(spec: MethodSpec, heritage: Heritage) -> str:
    """Return what a call is a call of, for its id: sessions of one agent are not the same."""
    return f"{spec.target}@{heritage.session}" if spec.stateful else spec.target
