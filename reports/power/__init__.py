"""The report of a plan of evidence: how many seeds and images see a difference of interest."""
