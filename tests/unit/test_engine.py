"""Events on a virtual clock."""

from nalar.sim.engine import Timeline


def test_events_happen_by_time_and_at_one_instant_in_the_order_asked_for() -> None:
    timeline, seen = Timeline(), list[tuple[str, float]]()

    def note(what: str) -> None:
        seen.append((what, timeline.now_s))
        if what == "a":
            timeline.after(0.0, note, "at once")
            timeline.at(-5.0, note, "overdue")

    timeline.at(2.0, note, "late")
    timeline.at(1.0, note, "a")
    timeline.at(1.0, note, "b")
    assert not timeline.run(until_s=10.0, events_max=100)
    assert seen == [("a", 1.0), ("b", 1.0), ("at once", 1.0), ("overdue", 1.0), ("late", 2.0)]


def test_a_run_stops_at_its_bounds_and_goes_on_from_there() -> None:
    timeline, seen = Timeline(), list[int]()
    for at in range(5):
        timeline.at(float(at), seen.append, at)
    assert timeline.run(until_s=10.0, events_max=2)
    assert seen == [0, 1]
    assert not timeline.run(until_s=2.5, events_max=10)
    assert (seen, timeline.now_s) == ([0, 1, 2], 2.0)


def test_nothing_happens_any_more_once_it_is_stopped() -> None:
    timeline, seen = Timeline(), list[int]()
    timeline.at(1.0, timeline.stop)
    timeline.at(1.0, seen.append, 1)
    assert not timeline.run(until_s=10.0, events_max=10)
    assert (seen, timeline.now_s) == ([], 1.0)
