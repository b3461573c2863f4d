"""Learnable parts that no paper owns."""
