"""What readers cache about people, and how it is forgotten."""
