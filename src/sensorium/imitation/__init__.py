"""Imitation learning: recorded demonstrations, behavioural cloning through time, DAgger."""
