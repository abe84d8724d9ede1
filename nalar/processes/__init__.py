"""Processes: the runtime of one, a worker's, and the parents that keep workers alive."""
