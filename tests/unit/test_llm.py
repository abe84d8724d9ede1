"""The model of an LLM engine: what it takes alone is arithmetic, what many take follows from it."""

import pytest

from nalar.sim.llm import LlmEngine, LlmModel, Prompt

#: Round figures: a step is 10 ms, a sequence adds 1 ms, a chunk of 100 tokens 100 ms.
MODEL = LlmModel(
    step_s=0.01, sequence_s=0.001, kv_token_s=0.0, prefill_tokens_per_s=1000.0,
    chunk_tokens=100, kv_tokens=10_000,
)  # fmt: skip


def run(engine: LlmEngine) -> dict[str, float]:
    """Let the engine work until it has nothing to do; return when each call was done."""
    done: dict[str, float] = {}
    while (now_s := engine.next_s()) < float("inf"):
        for key in engine.advance(now_s):
            done[key] = now_s
    return done


def test_one_call_alone_takes_its_prefill_and_a_step_for_each_token() -> None:
    engine = LlmEngine(MODEL)
    engine.submit("a", "", Prompt(0, 200, 50), 0.0)
    # Two chunks with nothing else in the step, then fifty steps with one sequence.
    assert run(engine) == {"a": pytest.approx(2 * 0.11 + 50 * 0.011)}
    assert engine.running == 0


def test_sequences_in_one_batch_slow_each_other_down_but_less_than_one_after_another() -> None:
    engine = LlmEngine(MODEL)
    for key in "abcd":
        engine.submit(key, "", Prompt(0, 1, 100), 0.0)
    last_s = max(run(engine).values())
    alone_s = 100 * 0.011
    assert alone_s < last_s < 2 * alone_s


def test_reading_a_prompt_slows_down_what_is_written() -> None:
    def time_of_a(*, disturbed: bool) -> float:
        engine = LlmEngine(MODEL)
        engine.submit("a", "", Prompt(0, 1, 100), 0.0)
        if disturbed:
            engine.submit("b", "", Prompt(0, 1000, 1), 0.0)
        return run(engine)["a"]

    assert time_of_a(disturbed=True) > time_of_a(disturbed=False) + 0.5


def test_a_session_that_comes_again_need_not_have_its_prefix_read_again() -> None:
    engine = LlmEngine(MODEL)
    engine.submit("a", "s", Prompt(0, 500, 100, grows=True), 0.0)
    first_s = run(engine)["a"]
    assert engine.cached("s") == 600
    engine.submit("b", "s", Prompt(600, 100, 1), first_s)
    assert run(engine)["b"] - first_s == pytest.approx(0.11 + 0.011)
    engine.submit("c", "other", Prompt(600, 100, 1), 100.0)
    assert run(engine)["c"] - 100.0 == pytest.approx(7 * 0.11 + 0.011)
    assert (engine.counts.prompt_tokens, engine.counts.cached_tokens) == (1900, 600)


def test_the_least_recently_used_prefix_makes_room() -> None:
    engine = LlmEngine(MODEL)
    for turn, session in enumerate(["old", "new", "old"]):
        prefix = engine.cached(session)
        engine.submit(str(turn), session, Prompt(prefix, 3000 - prefix // 2, 1, grows=True), turn)
        run(engine)
    assert engine.cached("old") == 4502
    engine.submit("big", "", Prompt(0, 4000, 1), 50.0)
    run(engine)
    assert (engine.cached("old"), engine.cached("new")) == (4502, 0)
    assert engine.counts.evictions == 1


def test_what_does_not_fit_waits_in_line_and_what_is_too_big_for_all_runs_alone() -> None:
    engine = LlmEngine(MODEL)
    engine.submit("a", "", Prompt(0, 6000, 1), 0.0)
    engine.submit("b", "", Prompt(0, 20_000, 1), 0.0)
    engine.submit("c", "", Prompt(0, 1, 1), 0.0)
    assert engine.running == 1
    done = run(engine)
    assert done["a"] < done["b"] < done["c"]
