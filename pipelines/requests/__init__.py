"""Who asked for a run: a row that is there before anything is started, and by which the same request is known again."""
