"""The proposed methods: one file a method, found by the registry by its file name."""
