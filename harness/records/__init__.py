"""What lies on disk for every run, profile and study: typed records, rank tables, score matrices. The ground floor."""
