"""Imports what there is not."""
import no_such_package_anywhere  # noqa: F401
