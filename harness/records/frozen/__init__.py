"""Frozen leaderboards: a version of a leaderboard as plain CSV and JSON with checksums, which others can read."""
