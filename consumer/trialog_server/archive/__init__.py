"""The archive: the log's records in Parquet files and a manifest, in a folder or a bucket."""
