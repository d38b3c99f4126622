"""The Flask application of the benchmark in Python."""
from flask import Flask, Response, request

app = Flask(__name__)


@app.route("/hello")
def hello():
    return Response("Hello, World!", mimetype="text/plain")


@app.route("/echo", methods=["POST"])
def echo():
    return Response(request.get_data(), mimetype="application/octet-stream")
