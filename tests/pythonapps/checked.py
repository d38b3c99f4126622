"""WSGI applications between two checkers: what CPython's own complains of is
an error, and so an answer that no test expects."""

import warnings
from wsgiref.validate import WSGIWarning, validator

warnings.simplefilter("error", WSGIWarning)


def checked(application):
    return validator(application)
