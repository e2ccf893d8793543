"""Makes one sample from one clip, in worker processes whose crash costs only that clip."""
