"""The winner in other formats: <format>.py writes and opens one."""
