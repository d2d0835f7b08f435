"""A real TimescaleDB without a server package: PostgreSQL compiled to WebAssembly, from npm, run by Node."""
