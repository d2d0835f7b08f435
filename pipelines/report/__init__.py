"""What a person sees: the run in a terminal and in JSON, the team graph as a page; never one person."""
