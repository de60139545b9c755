"""A gallery that is packed once and stays: in memory, or mapped from files."""

from harness.scoring.index.index import SHORTLIST, Hits, Index
from harness.scoring.index.stored import IndexWriter

__all__ = ["SHORTLIST", "Hits", "Index", "IndexWriter"]
