"""Looking at finished shards: verification, summary, web page, and a picture of one sample."""
