"""Probes: questions put to a trained model beside its test split, and what it answered."""
