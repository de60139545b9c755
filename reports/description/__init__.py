"""The page of a described dataset."""
