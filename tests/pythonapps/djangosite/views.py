"""The views."""

from django.http import (HttpResponse, HttpResponseRedirect, JsonResponse,
                         StreamingHttpResponse)
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import condition

from content import digest, streams

TEXT = "text/plain; charset=utf-8"


def hello(request):
    return HttpResponse("Hello world from Django!\n", content_type=TEXT)


def query(request):
    return JsonResponse(dict(request.GET.lists()))


def path(request, rest):
    return HttpResponse(rest, content_type=TEXT)


@csrf_exempt
def form(request):
    return JsonResponse(request.POST.dict())


@csrf_exempt
def upload(request):
    file = request.FILES["file"]
    return JsonResponse({"note": request.POST["note"], "name": file.name,
                         **digest(file.read)})


@csrf_exempt
def raw(request):
    return JsonResponse({"length": request.META.get("CONTENT_LENGTH", ""),
                         **digest(request.read)})


def stream(request, blocks):
    return StreamingHttpResponse(streams.body(int(blocks)),
                                 content_type="application/octet-stream")


def told(request):
    return JsonResponse(streams.told())


def cookies(request):
    response = JsonResponse(request.COOKIES)
    response.set_cookie("a", "1")
    response.set_cookie("b", "2", httponly=True)
    return response


def counted(request):
    request.session["count"] = request.session.get("count", 0) + 1
    return JsonResponse({"count": request.session["count"]})


@condition(etag_func=lambda request: '"one"')
def tagged(request):
    return HttpResponse("tagged\n", content_type=TEXT)


def away(request):
    return HttpResponseRedirect("/hello")


def throw(request):
    raise RuntimeError("thrown in Django")
