"""Figures printed in papers: read, matched to measured runs, and compared with them."""
