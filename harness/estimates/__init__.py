"""Estimates: what an experiment will cost, from a few measured steps on this machine, with the data or without."""
