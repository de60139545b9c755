"""The feature store: what frozen towers make of a dataset's images and captions, computed once and kept on disk."""
