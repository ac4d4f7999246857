from django.db import migrations


def forget_file_names(apps, schema_editor):
    """The admin's history named predictions and uploads by the sender's file name, also after they were deleted."""
    apps.get_model("admin", "LogEntry").objects.filter(
        content_type__app_label="diagnosis", content_type__model__in=["prediction", "upload"]
    ).update(object_repr="")


class Migration(migrations.Migration):
    dependencies = [
        ("admin", "0003_logentry_add_action_flag_choices"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("diagnosis", "0007_thresholds_and_quality"),
    ]

    operations = [migrations.RunPython(forget_file_names, migrations.RunPython.noop)]
