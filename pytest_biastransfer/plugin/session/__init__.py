"""The session: outcomes, baseline, report files and the terminal summary."""
