"""Precomputed region features with captions, in SCAN's layout."""
