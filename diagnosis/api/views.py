"""The API: analyse a picture, list and show the caller's predictions."""

from django.core.files.uploadedfile import UploadedFile
from django.db.models import QuerySet
from rest_framework import mixins, permissions, viewsets
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import SimpleRateThrottle
from rest_framework.views import APIView

from diagnosis import access, services
from diagnosis.api.problems import NoFile, NotAChestXray
from diagnosis.api.serializers import PredictionSerializer, PredictOptions
from diagnosis.models import Prediction


class PredictThrottle(SimpleRateThrottle):
    """Analyses by user, or by address for anonymous callers; the rate is the setting PREDICT_THROTTLE."""

    scope = "predict"

    def get_cache_key(self, request: Request, view: APIView) -> str:
        ident = f"user-{request.user.pk}" if request.user.is_authenticated else self.get_ident(request)
        return self.cache_format % {"scope": self.scope, "ident": ident}


class MayUpload(permissions.BasePermission):
    """access.may_upload for analyses; looking is limited by the query set."""

    message = "Log in to have pictures analysed."

    def has_permission(self, request: Request, view: APIView) -> bool:
        return request.method in permissions.SAFE_METHODS or access.may_upload(request.user)


class PredictionViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Prediction]):
    """`POST /predict`, `GET /api/predictions/`, `GET /api/predictions/<id>/`."""

    serializer_class = PredictionSerializer
    permission_classes = [MayUpload]

    def get_throttles(self) -> list:
        return [PredictThrottle()] if self.action == "create" else []

    def get_queryset(self) -> QuerySet[Prediction]:
        return access.visible_to(access.person_of(self.request))

    def create(self, request: Request) -> Response:
        """Analyse the picture under the key `file`, with the fields of PredictOptions."""
        file = request.FILES.get("file")
        if not isinstance(file, UploadedFile):
            raise NoFile
        options = PredictOptions(data=request.data)
        options.is_valid(raise_exception=True)
        prediction = services.diagnose(
            file=file, name=file.name or "", sender=access.sender_of(request), **options.validated_data
        )
        if prediction.is_rejected:
            raise NotAChestXray(prediction)
        return Response(self.get_serializer(prediction).data)
