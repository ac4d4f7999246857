"""The admin: past predictions for reviewers and administrators, to find, to look at and to read anew."""

from diagnosis.admin import predictions, records  # noqa: F401  they register themselves
