"""Where to go on in a form."""

from django import forms, template

register = template.Library()


@register.filter
def focused(form: forms.BaseForm) -> forms.BaseForm:
    """The form; after mistakes the first field with one has the focus, whichever would have it else."""
    if wrong := next((field for field in form if field.errors), None):
        for field in form.fields.values():
            field.widget.attrs.pop("autofocus", None)
        wrong.field.widget.attrs["autofocus"] = True
    return form
