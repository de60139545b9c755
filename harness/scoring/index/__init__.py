"""A gallery that is packed once and stays: in memory, or mapped from files."""

from harness.scoring.index.index import Hits, Index
from harness.scoring.index.stored import IndexWriter

__all__ = ["Hits", "Index", "IndexWriter"]
