"""The methods to compare with: one file a method, found by the registry by its file name."""
