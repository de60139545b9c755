"""The plan of an experiment as a page: runs, files, time, memory, disk."""
