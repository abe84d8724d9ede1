"""Workers that see the same entries agree on who owns which slot, without talking."""

from hypothesis import given
from hypothesis import strategies as st

from nalar.controllers.slots import plan_slots

WORKERS = st.sets(st.sampled_from(["w1", "w2", "w3", "w4", "w5"]), min_size=1)


def test_a_lone_worker_takes_every_slot() -> None:
    assert plan_slots(4, {}, ["w1"], "w1").claim == (0, 1, 2, 3)


def test_a_newcomer_waits_for_the_others_to_give_up_their_surplus() -> None:
    owners = dict.fromkeys(range(4), "w1")
    assert plan_slots(4, owners, ["w1", "w2"], "w2").claim == ()
    assert plan_slots(4, owners, ["w1", "w2"], "w1").release == (2, 3)


def test_the_slots_of_a_dead_worker_are_free() -> None:
    owners = {0: "dead", 1: "dead", 2: "w1", 3: "w1"}
    assert plan_slots(4, owners, ["w1"], "w1").claim == (0, 1)


def test_slots_beyond_the_configured_number_are_left_alone() -> None:
    assert plan_slots(2, {7: "dead"}, ["w1"], "w1").claim == (0, 1)


def test_a_worker_owns_as_many_slots_as_its_weight_says_and_none_of_weight_0() -> None:
    weights = {"w1": 0.25, "w3": 0.0, "gone": 9.0}
    workers = ["w1", "w2", "w3"]
    claims = {own: len(plan_slots(10, {}, workers, own, weights).claim) for own in workers}
    assert claims == {"w1": 2, "w2": 8, "w3": 0}
    owners = dict.fromkeys(range(4), "w3")
    assert plan_slots(4, owners, workers, "w3", weights).release == (0, 1, 2, 3)


def test_where_all_have_weight_0_nobody_owns_a_slot() -> None:
    assert plan_slots(2, {0: "w1"}, ["w1"], "w1", {"w1": 0.0}).release == (0,)


@given(
    WORKERS,
    st.integers(1, 20),
    st.dictionaries(st.integers(0, 19), st.sampled_from(["w1", "w2", "w3", "gone"])),
    st.dictionaries(st.sampled_from(["w1", "w2", "w3", "gone"]), st.floats(1e-9, 100)),
)
def test_following_the_plan_ends_with_fair_shares_and_every_slot_owned(
    workers: set[str], slots: int, owners: dict[int, str], weights: dict[str, float]
) -> None:
    owners = {slot: owner for slot, owner in owners.items() if slot < slots}
    for _ in range(20):
        before = dict(owners)
        for worker in sorted(workers):
            plan = plan_slots(slots, owners, workers, worker, weights)
            for slot in plan.release:
                assert owners[slot] == worker, "nobody gives up what another owns"
                del owners[slot]
            for slot in plan.claim:
                assert owners.get(slot) not in workers, "nobody takes what a live worker owns"
                owners[slot] = worker
        if owners == before:
            break
    total = sum(weights.get(worker, 1.0) for worker in workers)
    counts = {name: sum(owner == name for owner in owners.values()) for name in workers}
    assert sum(counts.values()) == slots
    for name, count in counts.items():
        assert abs(count - slots * weights.get(name, 1.0) / total) < 1 + 1e-9
