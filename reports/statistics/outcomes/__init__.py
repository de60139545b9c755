"""Scores of outcomes: any answer item by item as a score per method, with intervals and tests whose unit is the picture."""
