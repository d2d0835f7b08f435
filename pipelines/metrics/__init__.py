"""What the organisation graph and the calendar say about people and teams: pure functions of arrays, no I/O."""
