"""Dates as French pages write them."""

DATE_FORMAT = "j F Y"
DATETIME_FORMAT = "j F Y à H:i"
