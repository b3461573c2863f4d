"""Scenes that run in a browser without a server: which agents have one, and the files that it needs."""
