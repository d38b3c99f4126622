"""A Django application: the project is in djangosite/."""

import os

from django.core.wsgi import get_wsgi_application

from checked import checked

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "djangosite.settings")

app = get_wsgi_application()
validated = checked(app)
