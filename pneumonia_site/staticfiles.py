"""How static files are named and compressed for production, by `make static`."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from whitenoise.storage import CompressedManifestStaticFilesStorage


class HashedFiles(CompressedManifestStaticFilesStorage):
    """Names with a hash of the content, also where one script imports another, so that browsers may cache them for
    ever.

    Until `make static` has run, names stay as they are.
    """

    support_js_module_import_aggregation = True

    def stored_name(self, name: str) -> str:
        """The name under which `name` is served."""
        return super().stored_name(name) if self.hashed_files else name

    def compress_files(self, paths: Iterable[str]) -> Iterator[tuple[str, str]]:
        """Compress `paths`, each readable by whom it is itself."""
        for name, compressed_name in super().compress_files(paths):
            Path(self.path(compressed_name)).chmod(self.file_permissions_mode)
            yield name, compressed_name
