"""What several tests need: fakes, factories, servers. Nothing here is a test."""
