"""Has a thread that nobody ends."""
import threading
import time

threading.Thread(target=time.sleep, args=(600,)).start()


def app(environ, start_response):
    start_response("204 No Content", [])
    return []
