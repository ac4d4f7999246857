"""Dates as English pages write them."""

DATE_FORMAT = "j M Y"
DATETIME_FORMAT = "j M Y, H:i"
