"""The status page and its forms, drawn on the server: no script, no build step. Only `pages` and `glance` ask stores."""
