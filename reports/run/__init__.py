"""The page of one run: what it was, what it reached, what it cost, and how to make it again."""
