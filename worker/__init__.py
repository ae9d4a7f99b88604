"""Workshop: shards become Parquet files."""
