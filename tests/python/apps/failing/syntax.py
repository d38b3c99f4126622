"""Cannot be read: tests do not compile what is in this directory."""
def app(environ, start_response:
    pass
