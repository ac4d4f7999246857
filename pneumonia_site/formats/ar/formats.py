"""Dates and numbers as Arabic pages write them: with the digits 0 to 9 and the point, as medical devices do."""

DATE_FORMAT = "j F Y"
DATETIME_FORMAT = "j F Y، H:i"
DECIMAL_SEPARATOR = "."
THOUSAND_SEPARATOR = ","
