"""Reinforcement learners by gradient, and their off-policy training loop."""
