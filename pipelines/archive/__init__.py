"""Every applied event in PostgreSQL, once: what the graph can be recounted and rebuilt from."""
