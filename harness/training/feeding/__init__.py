"""Feeding: what a training step takes is read before the step asks for it."""
