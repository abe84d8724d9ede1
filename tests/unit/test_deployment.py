"""Which agents share their workers unless somebody says otherwise."""

from nalar.cluster.deployment import Declared, grouped
from nalar.cluster.nodes import Group


def test_agents_have_workers_of_their_own_and_functions_share_theirs() -> None:
    declared = [
        Declared("fetch", function=True),
        Declared("Model", function=False, min=2, max=4, resources={"GPU": 1.0}),
        Declared("report", function=True),
        Declared("Clerk", function=False),
    ]
    assert [it.group for it in grouped("shop/flows.py", declared)] == [
        Group("Model", ("Model",), 2, 2, 4, {"GPU": 1.0}),
        Group("Clerk", ("Clerk",)),
        Group("flows", ("fetch", "report")),
    ]
    assert [it.group.name for it in grouped("shop.tools", declared[:1])] == ["tools"]
    assert grouped("shop.tools", []) == []
