"""One vendor export layout a file."""
