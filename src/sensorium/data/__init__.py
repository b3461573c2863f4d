"""Data of stages: recorded episodes, demonstrations, replay and parallel rollouts."""
