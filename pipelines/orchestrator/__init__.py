"""The Prefect server as our account and our alerts see it: asked over HTTP with short time-outs, never needed."""
