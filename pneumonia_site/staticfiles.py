"""How style sheets and scripts are named and compressed for production; `make static` does it once."""

from whitenoise.storage import CompressedManifestStaticFilesStorage


class HashedFiles(CompressedManifestStaticFilesStorage):
    """Names that tell the content, also where one script imports another, so that browsers may keep them for ever.

    Until `make static` has run, names stay as they are.
    """

    support_js_module_import_aggregation = True

    def stored_name(self, name: str) -> str:
        """The name under which `name` is served."""
        return super().stored_name(name) if self.hashed_files else name
