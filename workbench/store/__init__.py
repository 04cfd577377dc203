"""Files on disk, shared by the interface and the workers; no torch."""
