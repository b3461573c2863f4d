"""The core abstractions: worlds, policies, stages, recipes, rollouts, checkpoints, cards. It imports no other package of ours."""
