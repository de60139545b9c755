"""Freezing a leaderboard: a version of it as files that others can read, extend, and have checked."""
