"""Which samples an epoch visits, in which order, and which modalities each visit shows."""
