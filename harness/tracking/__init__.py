"""The MLflow mirror of recorded runs. Files are the source of truth; MLflow is for browsing."""
