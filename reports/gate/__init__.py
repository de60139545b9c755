"""The gate of a pipeline: is a result no worse than a baseline?"""
