"""Figures of a simulation."""

import math

import pytest

from nalar.sim.invocation import Request
from nalar.sim.metrics import Metrics, jain, percentile


def test_a_percentile_is_a_value_that_occurred() -> None:
    ordered = [float(value) for value in range(1, 101)]
    assert [percentile(ordered, share) for share in (0.0, 0.5, 0.99, 1.0)] == [1, 50, 99, 100]
    assert math.isnan(percentile([], 0.5))


def test_fairness_is_one_for_equals_and_falls_to_one_nth() -> None:
    assert jain([3.0, 3.0, 3.0]) == 1.0
    assert jain([1.0, 0.0, 0.0, 0.0]) == 0.25
    assert jain([]) == 1.0


def test_pauses_do_not_count_as_latency_and_late_answers_not_as_goodput() -> None:
    metrics = Metrics(begun=3)
    for begun_s, paused_s, deadline_s in ((0.0, 0.0, 5.0), (0.0, 6.0, 5.0), (10.0, 0.0, math.inf)):
        request = Request("r", "s", f"t{paused_s}", 0, begun_s, begun_s + deadline_s)
        request.paused_s = paused_s
        metrics.ended(request, begun_s + 10.0)
    figures = metrics.figures("x", virtual_s=10.0, utilisation=0.0, cached=0.0)
    assert (figures.p50_s, figures.p99_s, figures.mean_s) == (10.0, 10.0, 8.0)
    assert (figures.goodput, figures.in_time) == (0.2, pytest.approx(2 / 3))
    assert figures.curve_s[0] == 4.0


def test_growth_shows_a_queue_that_does_not_drain() -> None:
    metrics = Metrics()
    for number in range(100):
        metrics.ended(Request("r", "s", "", 0, float(number), math.inf), number * 2.0)
    growth = metrics.figures("x", virtual_s=1.0, utilisation=0.0, cached=0.0).growth
    assert growth > 2.0
