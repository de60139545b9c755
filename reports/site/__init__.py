"""The results site: static pages of all that a results folder holds, linked from the leaderboard down to the picture."""
