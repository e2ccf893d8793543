"""What a data set is, where its clips are, and which of them are there."""
