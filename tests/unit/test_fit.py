"""Fitting the model of an engine to measurements."""

import pytest

from benchmarks.paper.fit import Timing, fit
from nalar.sim.llm import LlmModel

ENGINE = LlmModel(
    step_s=0.01, sequence_s=0.002, kv_token_s=1e-5, prefill_tokens_per_s=500.0,
    chunk_tokens=512, kv_tokens=8_000,
)  # fmt: skip


def measured(read: int, batch: int) -> Timing:
    """Return what an engine that is as the model says would measure."""
    context = batch * (read + 32)
    step_s = ENGINE.step_time_s(batch, context, reads=False)
    return Timing(batch, read, 64, read / ENGINE.prefill_tokens_per_s, 64 * step_s)


def test_the_figures_of_an_engine_are_found_again() -> None:
    found = fit(
        [measured(64, 1)], [measured(800, 1)], [measured(64, 4)], chunk_tokens=512, kv_tokens=8_000
    )
    assert found.step_s == pytest.approx(ENGINE.step_s)
    assert found.sequence_s == pytest.approx(ENGINE.sequence_s)
    assert found.kv_token_s == pytest.approx(ENGINE.kv_token_s)
    assert found.prefill_tokens_per_s == pytest.approx(ENGINE.prefill_tokens_per_s)


def test_what_noise_makes_negative_counts_as_nothing() -> None:
    slow, fast = Timing(1, 64, 64, 0.1, 2.0), Timing(1, 800, 64, 1.6, 1.0)
    found = fit([slow], [fast], [Timing(4, 64, 64, 0.4, 1.0)], chunk_tokens=512, kv_tokens=8_000)
    assert (found.kv_token_s, found.sequence_s) == (0.0, 0.0)
    assert found.step_s > 0
