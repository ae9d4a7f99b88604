"""Front door: input files become shards in the queue."""
