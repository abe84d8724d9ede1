"""Who is let in while an agent sheds load."""

from nalar.calls.admission import Admission, may_refuse
from nalar.calls.draft import ANYONE
from nalar.directives import Pause, Shed
from nalar.ids import AgentName, FutureId, Ref, RootId, SessionId

DESK, OTHER = AgentName("Desk"), AgentName("Other")


def ref(*, parent: str = "client", future: str = "root") -> Ref:
    return Ref("r", DESK, SessionId("_"), RootId("root"), parent, FutureId(future))


def test_requests_below_are_refused_until_the_directive_is_withdrawn() -> None:
    admission = Admission()
    assert admission.refusal(DESK, 0) is None
    admission.obey(Shed(DESK, below=1, retry_after_s=2.5), False)
    refusal = admission.refusal(DESK, 0, "Desk.ask")
    assert refusal is not None
    assert (refusal.retry_after_s, refusal.path) == (2.5, "Desk.ask")
    assert "2.5 s" in str(refusal)
    assert admission.refusal(DESK, 1) is None
    assert admission.refusal(OTHER, 0) is None
    admission.obey(Shed(DESK, below=-5, retry_after_s=2.5), False)
    assert admission.refusal(DESK, 0) is None
    admission.obey(Pause(DESK), True)
    assert admission.refusal(DESK, -6) is not None
    admission.obey(Shed(DESK, below=0, retry_after_s=0), True)
    assert admission.refusal(DESK, -6) is None


def test_a_worker_may_refuse_only_requests_that_nobody_will_repeat_by_a_key() -> None:
    assert may_refuse(ref())
    assert not may_refuse(ref(future="child"))
    assert not may_refuse(ref(parent=ANYONE))
