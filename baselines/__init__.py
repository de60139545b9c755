"""The methods to compare with, one file or package per method; the registry finds them by name."""
