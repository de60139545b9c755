"""Timing, and what one run costs."""
