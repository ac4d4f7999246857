"""The WSGI application, for any server. `runserver` has read the settings before, and keeps what they say of DEBUG."""

import os

from django.core.wsgi import get_wsgi_application

from pneumonia_site.charset import Request

# Other servers serve others, whatever .env says of this checkout; by itself it is open to everybody.
os.environ["DEBUG"] = os.environ.get("DEBUG") or "False"
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pneumonia_site.settings")
application = get_wsgi_application()
application.request_class = Request
