"""Which lane a call belongs in."""

from nalar.bus.subjects import LANE_NORMAL, slot_lane, slot_of
from nalar.calls.routes import Routes
from nalar.directives import Route
from nalar.ids import AgentName, FutureId, MethodName, Ref, RootId, SessionId
from nalar.messages import Invocation, Payload

DESK, SESSION, SLOTS = AgentName("Desk"), SessionId("s"), 16
HOME = slot_of(SESSION, SLOTS)
AWAY = Route(DESK, SESSION, (HOME + 1) % SLOTS)


def call(effect: str = "s") -> Invocation:
    ref = Ref(effect, DESK, SESSION, RootId("root"), "parent", FutureId("f"))  # type: ignore[arg-type]
    return Invocation(ref, MethodName("note"), SESSION, Payload(b"{}"), deadline=1.0, created=0.0)


def test_a_session_is_served_by_its_hash_until_it_is_moved_and_again_after() -> None:
    routes = Routes(SLOTS)
    assert routes.lane(call(), stateful=True) == slot_lane(HOME)
    routes.obey(AWAY, withdrawn=False)
    assert routes.lane(call(), stateful=True) == slot_lane(AWAY.slot)
    routes.obey(AWAY, withdrawn=True)
    assert routes.lane(call(), stateful=True) == slot_lane(HOME)


def test_reads_of_a_session_go_where_it_is() -> None:
    routes = Routes(SLOTS)
    routes.obey(AWAY, withdrawn=False)
    assert routes.lane(call("r"), stateful=True) == slot_lane(AWAY.slot)


def test_a_slot_that_there_is_not_is_no_way() -> None:
    routes = Routes(SLOTS)
    routes.obey(Route(DESK, SESSION, SLOTS), withdrawn=False)
    assert routes.lane(call(), stateful=True) == slot_lane(HOME)


def test_calls_without_state_take_a_shared_lane_wherever_a_session_is() -> None:
    routes = Routes(SLOTS)
    routes.obey(AWAY, withdrawn=False)
    assert routes.lane(call("r"), stateful=False) == LANE_NORMAL
