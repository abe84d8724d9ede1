"""Faults on purpose, at exact places, when NALAR_FAULT asks for them: for proofs and drills."""
