"""Has its application under the name that PEP 3333 uses."""
import os

here = os.path.basename(os.getcwd())


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [__name__.encode()]
