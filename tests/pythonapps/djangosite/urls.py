"""Where the views are."""

from django.contrib import admin
from django.urls import path, re_path

from djangosite import views

urlpatterns = [
    path("hello", views.hello),
    path("query", views.query),
    re_path(r"^path/(?P<rest>.*)$", views.path),
    path("form", views.form),
    path("upload", views.upload),
    path("raw", views.raw),
    re_path(r"^stream/(?P<blocks>-?\d+)$", views.stream),
    path("streams", views.told),
    path("cookies", views.cookies),
    path("session", views.counted),
    path("tagged", views.tagged),
    path("away", views.away),
    path("throw", views.throw),
    path("admin/", admin.site.urls),
]
