"""A Pyramid application: headgate pyramidapp:app"""
from pyramid.config import Configurator
from pyramid.response import Response


def hello(request):
    return Response("Hello world from Pyramid!\n", content_type="text/plain")


def main():
    config = Configurator()
    config.add_route("hello", "/hello")
    config.add_view(hello, route_name="hello")
    return config.make_wsgi_app()


app = main()
