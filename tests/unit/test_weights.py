"""Which share each worker is to get, as directed."""

from nalar.controllers.weights import Weights
from nalar.directives import SetWeights
from nalar.ids import AgentName, WorkerId

A, B = AgentName("A"), AgentName("B")


def test_who_is_not_named_gets_a_whole_share_and_the_heaviest_is_the_measure() -> None:
    weights = Weights()
    weights.obey(SetWeights(A, {WorkerId("w1"): 0.25, WorkerId("w2"): 0}), withdrawn=False)
    weights.obey(SetWeights(B, {WorkerId("w1"): 4}), withdrawn=False)
    assert [weights.share(A, name) for name in ("w1", "w2", "w3")] == [0.25, 0.0, 1.0]
    assert [weights.share(B, name) for name in ("w1", "w2")] == [1.0, 0.25]


def test_withdrawn_or_replaced_weights_are_forgotten() -> None:
    weights = Weights()
    first = SetWeights(A, {WorkerId("w1"): 0.25})
    weights.obey(first, withdrawn=False)
    weights.obey(SetWeights(A, {WorkerId("w2"): 0.5}), withdrawn=False)
    assert [weights.share(A, name) for name in ("w1", "w2")] == [1.0, 0.5]
    weights.obey(first, withdrawn=True)
    assert weights.of(A) == {}
