"""How hostile one simulation is: which faults there are, and how often. All of it from a seed."""

import random
from dataclasses import dataclass, fields

#: The longest that a link holds everything up by itself, in seconds; a stall is longer.
SPIKE_MAX_S = 1.5


@dataclass(slots=True)
class Weather:
    """Probabilities of what befalls one message, and how often a process is struck."""

    #: A message takes long, and holds up what follows it.
    slow: float = 0.0
    #: A publish, commit or read is never answered: it was lost on the way in.
    request_lost: float = 0.0
    #: The same, but it had been done: only the answer was lost.
    reply_lost: float = 0.0
    #: It is done after its sender has given up on it.
    late: float = 0.0
    #: A word about a delivery (ack, hand back, extend) is lost.
    word_lost: float = 0.0
    #: A record's or entry's announcement is not heard.
    notice_lost: float = 0.0
    #: What was asked of a lane is forgotten by the server.
    ask_lost: float = 0.0
    #: Strikes in a second, over all processes.
    strikes: float = 0.0
    #: Relative weights of the strikes.
    kill: float = 0.0
    freeze: float = 0.0
    cut: float = 0.0
    stall: float = 0.0
    expire: float = 0.0
    drain: float = 0.0
    server: float = 0.0
    #: Seconds by which the processes' clocks may be off, either way.
    skew_s: float = 0.0
    #: Another strike: a session is routed to another slot, or back.
    migrate: float = 0.0


#: How likely each fault is where it is there at all.
_WORST = Weather(
    slow=0.02, request_lost=0.02, reply_lost=0.03, late=0.01, word_lost=0.1, notice_lost=0.2,
    ask_lost=0.05, strikes=0.8, kill=2.0, freeze=2.0, cut=2.0, stall=1.0, expire=0.7, drain=1.0,
    server=0.5, skew_s=3.0, migrate=3.0,
)  # fmt: skip
#: A fault is part of a simulation with this probability: some have few, so that those are seen
#: alone, and together with what others would hide.
_PRESENT = 0.6


def calm() -> Weather:
    """Return the weather in which nothing goes wrong."""
    return Weather()


def draw(chance: random.Random) -> Weather:
    """Return a weather of some of the faults, each more or less severe."""
    weather = Weather()
    for field in fields(Weather):
        present, severity = chance.random() < _PRESENT, chance.uniform(0.1, 1.0)
        if present or field.name == "strikes":
            setattr(weather, field.name, getattr(_WORST, field.name) * severity)
    return weather


def latency_s(chance: random.Random, weather: Weather) -> float:
    """Return how long one message takes."""
    if chance.random() < weather.slow:
        return chance.uniform(0.05, SPIKE_MAX_S)
    return 0.000_2 + chance.expovariate(1 / 0.002)


#: Every fault by name.
FAULTS = tuple(
    field.name for field in fields(Weather) if field.name not in {"strikes", "skew_s", "slow"}
)
