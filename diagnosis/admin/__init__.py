"""The admin: past predictions and their readings, the audit log, accounts."""

from diagnosis.admin import accounts, predictions, records  # noqa: F401  they register themselves
