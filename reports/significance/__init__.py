"""The significance report: which differences between methods are real."""
