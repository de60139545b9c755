"""Alignment cards as pages: which words of a caption a method matched with which parts of a picture."""
