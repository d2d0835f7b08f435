"""Alerts: what is wrong (rules, pure), who is told and how often (dispatch), and by which way (channels).

Imports nothing of the pipelines: they hand over facts. One thread for each incident, never one message for each run.
"""
