"""The admin: past predictions, to find, to look at and to read anew; who did what; accounts."""

from diagnosis.admin import accounts, predictions, records  # noqa: F401  they register themselves
