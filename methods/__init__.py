"""The proposed methods, one file or package per method; the registry finds them by name."""
