"""What callers know of the workers among which they choose."""

import pytest

from benchmarks.paper.live_placing import Sent
from nalar.sim.placing import Assigned, Pinned
from nalar.sim.workload import AgentModel

MODELS = [
    AgentModel("LLM", 2, concurrency=4, stateful=True, exclusive=False),
    AgentModel("Reader", 0, concurrency=4, beside="LLM"),
]


def test_the_worker_with_the_fewest_calls_under_way_gets_the_next() -> None:
    sent = Sent(MODELS, Assigned())
    with sent.to("Reader", "s") as first, sent.to("Reader", "s") as second:
        assert (first, second) == ("LLM-1", "LLM-2")
    with sent.to("Reader", "s") as again:
        assert again == "LLM-1", "both have ended"


def test_a_call_that_failed_is_under_way_no_longer() -> None:
    sent = Sent(MODELS, Assigned())
    with pytest.raises(TimeoutError), sent.to("Reader", "s"):
        raise TimeoutError
    with sent.to("Reader", "s") as worker:
        assert worker == "LLM-1"


def test_a_session_stays_where_it_was_also_for_what_is_read_for_it() -> None:
    sent = Sent(MODELS, Pinned())
    chosen: list[list[str]] = []
    for agent in ("LLM", "Reader"):
        with sent.to(agent, "one") as one, sent.to(agent, "two") as two:
            chosen.append([one, two])
    assert chosen == [["LLM-1", "LLM-2"]] * 2


def test_service_adds_up_by_request() -> None:
    sent = Sent(MODELS, Assigned())
    sent.served("r", 1.5)
    sent.served("r", 2.0)
    assert (sent.attained_s("r"), sent.attained_s("other")) == (3.5, 0.0)
