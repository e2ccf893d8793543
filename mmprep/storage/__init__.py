"""Local disk, S3, GCS, Azure and HTTP behind one interface."""
