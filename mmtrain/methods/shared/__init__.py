"""Parts of algorithms that several methods use."""
