"""A Pyramid application."""

from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPFound
from pyramid.response import Response
from pyramid.session import SignedCookieSessionFactory
from pyramid.view import view_config

from checked import checked
from content import digest, streams


def text(content):
    return Response(content, content_type="text/plain", charset="utf-8")


@view_config(route_name="hello")
def hello(request):
    return text("Hello world from Pyramid!\n")


@view_config(route_name="query", renderer="json")
def query(request):
    return {name: request.GET.getall(name) for name in request.GET}


@view_config(route_name="path")
def path(request):
    return text("/".join(request.matchdict["rest"]))


@view_config(route_name="form", request_method="POST", renderer="json")
def form(request):
    return dict(request.POST)


@view_config(route_name="upload", request_method="POST", renderer="json")
def upload(request):
    file = request.POST["file"]
    return {"note": request.POST["note"], "name": file.filename,
            **digest(file.file.read)}


@view_config(route_name="raw", request_method="POST", renderer="json")
def raw(request):
    return {"length": request.environ.get("CONTENT_LENGTH", ""),
            **digest(request.body_file.read)}


@view_config(route_name="stream")
def stream(request):
    response = Response(content_type="application/octet-stream")
    response.app_iter = streams.body(int(request.matchdict["blocks"]))
    return response


@view_config(route_name="streams", renderer="json")
def told(request):
    return streams.told()


@view_config(route_name="cookies", renderer="json")
def cookies(request):
    request.response.set_cookie("a", "1")
    request.response.set_cookie("b", "2", httponly=True)
    return dict(request.cookies)


@view_config(route_name="session", renderer="json")
def counted(request):
    request.session["count"] = request.session.get("count", 0) + 1
    return {"count": request.session["count"]}


@view_config(route_name="tagged")
def tagged(request):
    response = text("tagged\n")
    response.etag = "one"
    response.conditional_response = True
    return response


@view_config(route_name="away")
def away(request):
    return HTTPFound("/hello")


@view_config(route_name="throw")
def throw(request):
    raise RuntimeError("thrown in Pyramid")


def create():
    config = Configurator()
    config.set_session_factory(
        SignedCookieSessionFactory("a secret of the tests"))
    for name in ("hello", "query", "form", "upload", "raw", "streams",
                 "cookies", "session", "tagged", "away", "throw"):
        config.add_route(name, f"/{name}")
    config.add_route("path", "/path/*rest")
    config.add_route("stream", "/stream/{blocks}")
    config.scan(__name__)
    return config.make_wsgi_app()


app = create()
validated = checked(app)
