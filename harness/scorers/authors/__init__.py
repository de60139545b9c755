"""Checkpoints of a method's authors: read without executing their pickle, mapped onto our modules."""
