"""The focus in a form."""

from django import forms, template

register = template.Library()


@register.filter
def focused(form: forms.BaseForm) -> forms.BaseForm:
    """The form; if it has errors, the first field with one gets the focus."""
    if wrong := next((field for field in form if field.errors), None):
        for field in form.fields.values():
            field.widget.attrs.pop("autofocus", None)
        wrong.field.widget.attrs["autofocus"] = True
    return form
