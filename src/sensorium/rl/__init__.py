"""Gradient learners on codes: they know neither worlds nor encoders."""
