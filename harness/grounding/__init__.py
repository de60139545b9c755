"""Grounding: do the words of a caption look at the objects that they name?"""
