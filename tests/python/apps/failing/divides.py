"""Fails in a function of its own."""


def inner():
    return 1 / 0


def create():
    return inner()


application = None
