"""Worlds, and transformations of their observations (`senses`)."""
