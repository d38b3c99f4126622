"""Makes the database, with somebody who may log in to the admin."""

import os

import django
from django.core.management import call_command

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "djangosite.settings")
django.setup()
call_command("migrate", verbosity=0)

from django.contrib.auth.models import User  # noqa: E402

User.objects.create_superuser("ada", "ada@example.org", "lovelace")
