"""The bars of the paper's evaluation."""

from dataclasses import replace

from benchmarks.paper.bars import judge
from benchmarks.paper.cases import PEERS
from nalar.sim.metrics import Figures, Metrics


def figures(p50_s: float, p99_s: float, mean_s: float) -> Figures:
    empty = Metrics().figures("x", virtual_s=1.0, utilisation=0.0, cached=0.0)
    return replace(empty, p50_s=p50_s, p99_s=p99_s, mean_s=mean_s)


def against(ours: Figures, peers: Figures, **others: Figures) -> dict[str, Figures]:
    return {"nalar": ours, **dict.fromkeys(PEERS, peers), **others}


def test_a_bar_is_met_or_missed_by_what_was_measured() -> None:
    runs = against(figures(10.0, 26.0, 0.0), figures(11.0, 100.0, 0.0))
    assert [it.is_met for it in judge("financial", runs)] == [True, True]
    runs = against(figures(10.0, 27.0, 0.0), figures(11.0, 100.0, 0.0), las=figures(9.0, 200.0, 0))
    tail, median = judge("financial", runs)
    assert (tail.is_met, median.is_met) == (False, False)
    assert "73.0%" in tail.figures
    assert "las" in median.figures


def test_the_router_counts_only_where_no_peer_sustains_the_rate() -> None:
    slow, fast = figures(0, 0, 51.0), figures(0, 0, 49.0)
    assert judge("router", against(fast, slow))[0].is_met
    assert not judge("router", against(fast, slow, las=fast))[0].is_met
    assert not judge("router", against(slow, slow))[0].is_met


def test_software_is_measured_against_the_worst_and_against_the_best() -> None:
    runs = against(figures(0, 0, 10.0), figures(0, 0, 12.0), pinned=figures(0, 0, 34.0))
    assert [it.is_met for it in judge("software", runs)] == [True, True]
    runs["las"] = figures(0, 0, 9.0)
    assert [it.is_met for it in judge("software", runs)] == [True, False]


def test_nothing_is_judged_before_all_have_been_run() -> None:
    assert judge("router", {"nalar": figures(0, 0, 1.0)}) == []
