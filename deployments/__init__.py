"""Installing and operating: set up a Prefect server, deploy, look after it, and run everything on one machine."""
