"""Worlds, one a file, and what can be done to their senses."""
