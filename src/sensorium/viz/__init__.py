"""Curves, pictures, videos, reports."""
