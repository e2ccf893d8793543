"""Looking at shards: proof, summary, page, and the picture of one sample."""
