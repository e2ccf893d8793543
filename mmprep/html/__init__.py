"""The one kit for the pages of both packages."""
