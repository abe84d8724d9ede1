"""An engine's figures from what a real one has measured of itself. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from nalar.sim.llm import LlmModel


@dataclass(frozen=True, slots=True)
class Timing:
    """One generation, as the engine has timed it."""

    #: Sequences that were generated side by side.
    batch: int
    prompt_tokens: int
    output_tokens: int
    prompt_s: float
    output_s: float

    @property
    def token_s(self) -> float:
        return self.output_s / self.output_tokens

    @property
    def context(self) -> float:
        """Tokens of context of the whole batch, half way through."""
        return self.batch * (self.prompt_tokens + self.output_tokens / 2)


def fit(
    short: Sequence[Timing], long: Sequence[Timing], batched: Sequence[Timing],
    *, chunk_tokens: int, kv_tokens: int,
) -> LlmModel:  # fmt: skip
    """Return the model that agrees with the mean of each kind of measurement.

    `short` and `long` are of one sequence at a time with short and long prompts, `batched` of
    several with short ones. Prompts are read at the speed at which the long ones were.
    """
    one_s, far_s, many_s = (_mean([it.token_s for it in kind]) for kind in (short, long, batched))
    near, far = (_mean([it.context for it in kind]) for kind in (short, long))
    kv_token_s = max(0.0, (far_s - one_s) / (far - near))
    many, batch = _mean([it.context for it in batched]), _mean([it.batch for it in batched])
    sequence_s = max(0.0, (many_s - one_s - (many - near) * kv_token_s) / (batch - 1))
    return LlmModel(
        step_s=max(0.0, one_s - sequence_s - near * kv_token_s),
        sequence_s=sequence_s,
        kv_token_s=kv_token_s,
        prefill_tokens_per_s=sum(it.prompt_tokens for it in long) / sum(it.prompt_s for it in long),
        chunk_tokens=chunk_tokens,
        kv_tokens=kv_tokens,
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
