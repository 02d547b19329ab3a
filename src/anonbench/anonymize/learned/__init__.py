"""Anonymizers that learn what to hide: whole frames of video are changed so that an action network still works."""
