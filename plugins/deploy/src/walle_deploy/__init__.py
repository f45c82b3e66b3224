"""The deployment platform: tasks from git to devices."""
