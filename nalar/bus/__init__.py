"""How messages move: subjects, codec, topology, the queue's adapters, the embedded server.

Nothing here knows what an agent is or decides who runs what.
"""
