"""Figures, videos and reports."""
