"""Speed, measured beside a floor: `python -m benchmarks.run` (or `make bench`).

Every row is measured twice in one run, in turns: with Nalar, and with bare nats-py and uvloop
that move the same messages and promise nothing. The floor is the denominator: absolute figures
belong to a machine, ratios to the code.
"""
