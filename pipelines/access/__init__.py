"""Who may use the API: users and their roles, what proves who they are, and how often they may ask."""
