"""What may be shown: every number and every sentence passes here on its way to a person. Pure; it reads no store."""
