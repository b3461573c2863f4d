"""The core abstractions: worlds, policies, stages, recipes, seeds, rollouts, checkpoints, cards, tables. It imports no other package of ours."""
