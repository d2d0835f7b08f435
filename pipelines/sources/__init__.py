"""Readers of files: raw interactions out of CSV, JSONL and vendor exports; no ids leave without a pseudonym."""
