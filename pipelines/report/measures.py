"""The measures that the story of a run tells of, in the words of a team lead; what is not here is not told."""

from __future__ import annotations

from pipelines.report.story import Measure

MEASURES = (
    Measure(
        "strain", "Strain index", "of 100", "Departure from each person's own usual weeks; an index, no diagnosis."
    ),
    Measure("meeting_h", "Meeting hours", "hours a week", "Hours in meetings and calls, a person and week."),
    Measure(
        "after_hours_share", "After-hours work", "share", "Share of acts outside 08:00 to 18:00, Monday to Friday."
    ),
    Measure("short_rests", "Short nights", "nights a week", "Nights with under 11 hours between two days' work."),
    Measure("focus_blocks", "Focus blocks", "a day", "Undisturbed stretches of two hours, a working day."),
    Measure("response_load", "Answers expected", "a day", "Messages that ask somebody, shared by all who were asked."),
    Measure("network_size", "People worked with", "people", "Different people in contact, a person and week."),
)
