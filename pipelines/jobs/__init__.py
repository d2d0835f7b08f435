"""What the pipeline does, in order, as plain functions of stores, settings and `now`. No driver, no Prefect."""
