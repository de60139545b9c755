"""From records and foreign files to groups of runs that differ only in their seed."""
