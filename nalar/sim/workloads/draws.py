"""Distributions that workloads draw from. Chance comes in as a `Random`."""

import math
from random import Random


def lognormal(rng: Random, mean: float, sigma: float) -> float:
    """Draw from the log-normal distribution with this mean; `sigma` says how heavy its tail is."""
    return rng.lognormvariate(math.log(mean) - sigma * sigma / 2, sigma)


def tokens(rng: Random, mean: float, sigma: float, at_most: int) -> int:
    """Draw a length, at least 1."""
    return max(1, min(at_most, round(lognormal(rng, mean, sigma))))


def geometric(rng: Random, mean: float) -> int:
    """Draw how often something happens again before it does not: 0, 1, 2, ..."""
    if mean <= 0:
        return 0
    return int(math.log(max(rng.random(), 1e-12)) / math.log(mean / (1 + mean)))


def split(workers: int, shares: dict[str, float]) -> dict[str, int]:
    """Divide workers by shares: at least one each, all of them given out."""
    total = sum(shares.values())
    given = {name: max(1, int(workers * share / total)) for name, share in shares.items()}
    for name in sorted(shares, key=lambda it: -shares[it]):
        if sum(given.values()) < workers:
            given[name] += 1
    return given
