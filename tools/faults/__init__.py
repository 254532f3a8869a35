"""Faults on purpose: commands that are killed, and a tracking server that goes away, in throw-away projects."""
