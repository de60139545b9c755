"""Alignment cards of finished runs: which pairs get one, how they are made from a saved model, and what is kept of them."""
