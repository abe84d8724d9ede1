import random

import pytest

from benchmarks.bench_measure import (
    Figure,
    Sample,
    ideal_figure,
    latency_figures,
    median_of,
    quantile,
    summarise,
    throughput_figure,
)


def sample(per_s: float = 100.0, p50_ms: float = 1.0, p99_ms: float = 2.0) -> Sample:
    return Sample(calls=10, per_s=per_s, p50_ms=p50_ms, p99_ms=p99_ms)


def figure(ours: float, *, better: str, bar: float | None) -> Figure:
    return Figure("x", "/s", ours, 100.0, "lower" if better == "lower" else "higher", bar)


@pytest.mark.parametrize(
    ("share", "value"), [(0.0, 1), (0.01, 1), (0.07, 7), (0.5, 50), (0.99, 99), (1.0, 100)]
)
def test_quantile_is_the_nearest_rank(share: float, value: int) -> None:
    assert quantile(range(1, 101), share) == value


def test_quantile_of_one_value_is_that_value() -> None:
    assert [quantile([7.0], share) for share in (0.0, 0.5, 0.99, 1.0)] == [7.0] * 4


def test_quantile_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing"):
        quantile([], 0.5)


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_quantile_outside_of_its_range_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        quantile([1.0], share)


def test_summary_does_not_depend_on_the_order_in_which_calls_ended() -> None:
    latencies = [number / 1000 for number in range(1, 101)]
    random.Random(1).shuffle(latencies)
    found = summarise(latencies, completed=100, seconds=2.0)
    assert found == Sample(calls=100, per_s=50.0, p50_ms=50.0, p99_ms=99.0)


def test_median_of_rounds_ignores_one_bad_round() -> None:
    rounds = [sample(100, 1, 2), sample(3, 90, 200), sample(110, 1.1, 2.2)]
    assert median_of(rounds) == Sample(calls=30, per_s=100, p50_ms=1.1, p99_ms=2.2)


@pytest.mark.parametrize(
    ("better", "ours", "bar", "passed"),
    [
        ("lower", 200.0, 2.0, True),
        ("lower", 201.0, 2.0, False),
        ("higher", 50.0, 0.5, True),
        ("higher", 49.0, 0.5, False),
        ("higher", 1.0, None, None),
    ],
)
def test_bar_is_met_at_its_very_value(
    better: str, ours: float, bar: float | None, passed: bool | None
) -> None:
    assert figure(ours, better=better, bar=bar).passed is passed


def test_reference_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="above zero"):
        _ = Figure("x", "/s", 1.0, 0.0, "higher").ratio


def test_latency_is_judged_by_its_median_and_tells_the_spread_over_rounds() -> None:
    p50, p99 = latency_figures(
        "tool", [sample(p50_ms=3), sample(p50_ms=2)], [sample(p50_ms=1), sample(p50_ms=2)]
    )
    assert (p50.ratios, p50.bar, p50.ratio) == ((3.0, 1.0), 2.0, pytest.approx(2.5 / 1.5))
    assert (p99.bar, p99.passed) == (None, None)


def test_children_of_a_request_are_counted_on_both_sides() -> None:
    found = throughput_figure("fan", [sample(10)], [sample(20)], calls_each=32)
    assert (found.ours, found.reference, found.ratio, found.passed) == (320, 640, 0.5, True)


def test_sleeping_calls_are_judged_against_slots_over_sleep() -> None:
    found = ideal_figure("nap", [sample(1216)], concurrency=64, sleep_s=0.05)
    assert (found.reference, found.ratio, found.passed) == (1280.0, 0.95, True)
