"""Dates as French pages write them."""

DATE_FORMAT = "j M Y"
DATETIME_FORMAT = "j M Y à H:i"
