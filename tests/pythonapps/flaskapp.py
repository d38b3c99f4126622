"""A Flask application."""

import sys

from flask import (Flask, Response, jsonify, make_response, redirect, request,
                   session)

from checked import checked
from content import digest, streams

app = Flask(__name__)
app.secret_key = "a secret of the tests"


@app.get("/hello")
def hello():
    return Response("Hello world from Flask!\n", mimetype="text/plain")


@app.get("/query")
def query():
    return jsonify({name: request.args.getlist(name) for name in request.args})


@app.get("/path/<path:rest>")
def path(rest):
    return Response(rest, mimetype="text/plain")


@app.post("/form")
def form():
    return jsonify(dict(request.form))


@app.post("/upload")
def upload():
    file = request.files["file"]
    return jsonify(note=request.form["note"], name=file.filename,
                   **digest(file.stream.read))


@app.post("/raw")
def raw():
    return jsonify(length=request.environ.get("CONTENT_LENGTH", ""),
                   **digest(request.stream.read))


@app.get("/stream/<int(signed=True):blocks>")
def stream(blocks):
    return Response(streams.body(blocks), mimetype="application/octet-stream")


@app.get("/streams")
def told():
    return jsonify(streams.told())


@app.get("/cookies")
def cookies():
    response = make_response(jsonify(dict(request.cookies)))
    response.set_cookie("a", "1")
    response.set_cookie("b", "2", httponly=True)
    return response


@app.get("/session")
def counted():
    session["count"] = session.get("count", 0) + 1
    return jsonify(count=session["count"])


@app.get("/tagged")
def tagged():
    response = make_response("tagged\n")
    response.mimetype = "text/plain"
    response.set_etag("one")
    return response.make_conditional(request)


@app.get("/away")
def away():
    return redirect("/hello")


@app.get("/throw")
def throw():
    raise RuntimeError("thrown in Flask")


def create(name="Flask"):
    print(f"{name} is made by a call", file=sys.stderr)
    return app


validated = checked(app)
