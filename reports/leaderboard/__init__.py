"""The leaderboard: who is better, how sure that is, and what it costs."""
