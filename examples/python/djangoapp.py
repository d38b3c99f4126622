"""A Django application in one file: headgate djangoapp:app

A project that django-admin has made is served by its own module, as in
headgate mysite.wsgi:application.
"""
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path

settings.configure(
    ALLOWED_HOSTS=["localhost", "127.0.0.1"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="an example keeps no secret",
)


def hello(request):
    return HttpResponse("Hello world from Django!\n", content_type="text/plain")


urlpatterns = [path("hello", hello)]

app = get_wsgi_application()
