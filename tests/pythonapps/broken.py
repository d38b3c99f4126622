"""A module that cannot be imported."""


def fail():
    raise RuntimeError("no database")


fail()
