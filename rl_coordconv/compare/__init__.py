"""Run folders, ours and others', become a report. Nothing here trains, and nothing loads torch."""
