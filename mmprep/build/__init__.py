"""From a request to shards: plan, tasks, publication, repair and copies."""
