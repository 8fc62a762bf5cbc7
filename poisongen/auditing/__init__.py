"""Proof: what an audit checks, with code of its own."""
