"""The API: analyse pictures, find, show and delete predictions, make tokens, ask what the models are."""

import dataclasses
from typing import Any, cast

from django.core.files.uploadedfile import UploadedFile
from django.db.models import QuerySet
from django.http import Http404, HttpResponseBase, QueryDict
from django.shortcuts import get_object_or_404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema, extend_schema_view
from drf_spectacular.views import SpectacularAPIView
from knox.models import get_token_model
from rest_framework import exceptions, mixins, permissions, status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.views import APIView

from diagnosis import access, audit, pictures, reviews, services, statistics
from diagnosis.api import parameters, problems
from diagnosis.api.filters import KnownFiltersBackend, Ordering, PredictionFilter, ReviewFilter, Search
from diagnosis.api.parameters import KnownParameters
from diagnosis.api.parsers import MultiPartParser
from diagnosis.api.serializers import (
    ManyAnswers,
    ManyFiles,
    ModelSerializer,
    OneFile,
    PredictionSerializer,
    PredictOptions,
    ReviewSerializer,
    StatisticsSerializer,
    TokenMade,
    TokenSerializer,
    as_json,
)
from diagnosis.api.throttles import CallerThrottle, PredictThrottle
from diagnosis.inference import bundles
from diagnosis.models import ApiToken, Prediction, Review

IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "pattern": "^[ -~]*$", "maxLength": problems.LONGEST_KEY},
    OpenApiParameter.HEADER,
    description="Makes retries safe: a request repeated under the same key gets the first answer. A different request "
    "under that key is refused as a whole. At most 200 printable ASCII characters.",
)


class MayUpload(permissions.BasePermission):
    """Analyses are for those who may upload; looking and deleting are limited by the query set."""

    message = "Your account may not have pictures analysed; an administrator can give it the role of an uploader."

    def has_permission(self, request: Request, view: APIView) -> bool:
        return request.method != "POST" or access.person_of(request).may_upload


@extend_schema_view(
    list=extend_schema(summary="List the predictions you may see, newest first by default"),
    retrieve=extend_schema(summary="Get one prediction"),
    destroy=extend_schema(
        summary="Delete a prediction, its picture, and all other predictions of that upload", responses={204: None}
    ),
)
class PredictionViewSet(
    KnownParameters,
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    mixins.DestroyModelMixin,
    viewsets.GenericViewSet[Prediction],
):
    serializer_class = PredictionSerializer
    permission_classes = [MayUpload]
    parser_classes = [MultiPartParser]
    queryset = Prediction.objects.none()
    lookup_value_converter = "key"  # see urls.py
    filter_backends = [KnownFiltersBackend, Search, Ordering]
    filterset_class = PredictionFilter
    search_fields = ["upload__original_name", "upload__sha256"]
    ordering_fields = ["created", "probability"]
    ordering = ["-created"]

    def get_throttles(self) -> list:
        return [PredictThrottle() if self.request.method == "POST" else CallerThrottle()]

    def get_serializer_class(self) -> type[BaseSerializer]:
        if self.action == "metadata":  # what OPTIONS tells of the fields of a POST
            return OneFile if self.action_map.get("post") == "predict" else ManyFiles
        return super().get_serializer_class()

    def get_queryset(self) -> QuerySet[Prediction]:
        return access.visible_to(access.person_of(self.request))

    @extend_schema(
        operation_id="predict",
        summary="Analyse one picture",
        request={"multipart/form-data": OneFile},
        responses={200: PredictionSerializer},
        parameters=[IDEMPOTENCY_KEY],
    )
    def predict(self, request: Request) -> Response:
        self._check_account(request)
        files = self._files(request)
        if len(files) > 1:
            raise exceptions.ValidationError({"file": "One picture at a time here; POST several to /api/predictions/."})
        prediction = self._diagnose(files[0], self._options(request), problems.idempotency_key(request))
        return Response(as_json(prediction))

    @extend_schema(
        operation_id="predict_many",
        summary="Analyse one or more pictures",
        description="Each file gets a prediction or a problem of its own. One that fails does not affect the others, "
        "and the status is 200 even then.",
        request={"multipart/form-data": ManyFiles},
        responses={200: ManyAnswers},
        parameters=[IDEMPOTENCY_KEY],
    )
    def create(self, request: Request) -> Response:
        files = self._files(request)
        problems.check_number(len(files))
        options, key = self._options(request), problems.idempotency_key(request)
        digest = services.digest_of_several(files, **options) if key else ""
        answers: list[dict[str, Any]] = []
        headers: dict[str, str] = {}
        for number, file in enumerate(files):
            answer: dict[str, Any] = {"file_name": file.name, "prediction": None, "problem": None}
            try:
                # The first was counted with the request; one that has its answer counted then, and the others would
                # never have their turn.
                if number and not services.answered(access.person_of(request), key, number, digest):
                    self.check_throttles(request)
                prediction = self._diagnose(file, options, key, number=number, request_digest=digest)
                answer["prediction"] = as_json(prediction)
            except problems.OF_A_FILE as error:
                answer["problem"] = problems.members(error)
                headers |= problems.retry_after(error)
            answers.append(answer)
        return Response({"results": answers}, headers=headers)

    def _check_account(self, request: Request) -> None:
        """A page that sends many pictures names the account that it was made for: logged out meanwhile, or as another
        person, they would become a visitor's or that person's."""
        account = request.headers.get("X-Account")
        if account and account != str(request.user.pk):
            raise exceptions.NotAuthenticated

    def _files(self, request: Request) -> list[UploadedFile]:
        if any(request.POST.getlist("file")):  # an empty one is a browser's, where nothing was chosen
            raise problems.NoFile(
                "`file` came as text, without a name of a file: curl sends one by `-F file=@xray.jpg`."
            )
        files = [file for file in request.FILES.getlist("file") if isinstance(file, UploadedFile)]
        if not files:
            raise problems.NoFile
        return files

    def check_address(self, request: Request) -> None:
        for name in sorted(request.query_params):
            if request.method == "POST" and name in PredictOptions().fields:
                raise exceptions.ValidationError({name: "Send this as a field of the form, not in the address."})
        super().check_address(request)

    def _options(self, request: Request) -> dict[str, Any]:
        options = PredictOptions(data=request.data)
        known = {"file", *options.fields}
        # If it were ignored, `operating-point` would be answered at another point than was asked for.
        parameters.check(cast(QueryDict, request.data), known | parameters.OF_BROWSERS, "field", several=["file"])
        options.is_valid(raise_exception=True)
        return options.validated_data

    def _diagnose(
        self, file: UploadedFile, options: dict[str, Any], idempotency_key: str, **of_several: Any
    ) -> Prediction:
        prediction = services.diagnose(
            file=file,
            name=file.name or "",
            sender=access.sender_of(self.request),
            idempotency_key=idempotency_key,
            **of_several,
            **options,
        )
        if prediction.is_rejected:
            raise problems.NotAChestXray(prediction)
        return prediction

    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        prediction = self.get_object()
        audit.record(access.person_of(request), audit.Action.VIEWED, [prediction], detail=audit.RESULT)
        return Response(as_json(prediction))

    def perform_destroy(self, instance: Prediction) -> None:
        person = access.person_of(self.request)
        if not access.deletable_by(person).filter(pk=instance.upload_id).exists():
            self.get_object()  # 404 where another request was quicker
            self.permission_denied(self.request, "You may see this prediction, and not delete it.")
        services.delete([instance.upload], by=person)

    @extend_schema(
        summary="Get the heatmap, a transparent PNG to stretch over the X-ray",
        responses={
            (200, "image/png"): OpenApiTypes.BINARY,
            304: OpenApiResponse(description="Not modified: you already have it."),
        },
    )
    @action(detail=True, filter_backends=[])
    def heatmap(self, request: Request, pk: str) -> HttpResponseBase:
        prediction = self.get_object()
        if prediction.is_rejected:
            raise Http404
        audit.record_heatmap(access.person_of(request), prediction)
        return self._picture(pictures.heatmap(request, prediction))

    @extend_schema(
        summary="Get the X-ray at full size, without its metadata, in a format that browsers show",
        responses={
            **{(200, kind): OpenApiTypes.BINARY for kind in ("image/jpeg", "image/png", "image/webp")},
            304: OpenApiResponse(description="Not modified: you already have it."),
        },
    )
    @action(detail=True, filter_backends=[])
    def original(self, request: Request, pk: str) -> HttpResponseBase:
        prediction = self.get_object()
        audit.record(access.person_of(request), audit.Action.VIEWED, [prediction], detail="picture")
        return self._picture(pictures.xray(request, prediction))

    def _picture(self, answer: HttpResponseBase) -> HttpResponseBase:
        if answer.status_code == problems.AnotherVersion.status_code:
            raise problems.AnotherVersion
        return answer


class MayReview(permissions.BasePermission):
    """Readings are for reviewers to record; which of them somebody sees is limited by the query set."""

    message = "Your account may not record readings; an administrator can give it the role of a reviewer."

    def has_permission(self, request: Request, view: APIView) -> bool:
        return request.method != "POST" or access.person_of(request).may_review


@extend_schema_view(
    list=extend_schema(summary="List the readings of the predictions you may see, newest first by default"),
    create=extend_schema(summary="Record a reading; the prediction does not change"),
)
class ReviewViewSet(KnownParameters, mixins.ListModelMixin, mixins.CreateModelMixin, viewsets.GenericViewSet[Review]):
    serializer_class = ReviewSerializer
    permission_classes = [MayReview]
    queryset = Review.objects.none()
    filter_backends = [KnownFiltersBackend, Ordering]
    filterset_class = ReviewFilter
    ordering_fields = ["created"]
    ordering = ["-created"]

    def get_queryset(self) -> QuerySet[Review]:
        visible = access.visible_to(access.person_of(self.request))
        return Review.objects.filter(prediction__in=visible).select_related("reviewer")

    def perform_create(self, serializer: BaseSerializer[Review]) -> None:
        person = access.person_of(self.request)
        asked = serializer.validated_data
        prediction = get_object_or_404(access.visible_to(person), pk=asked.pop("prediction_id"))
        if prediction.is_rejected:
            raise problems.NotAnalysed
        try:
            serializer.instance = reviews.record(prediction, by=person, **asked)
        except Prediction.DoesNotExist:  # deleted meanwhile
            raise Http404 from None


@extend_schema_view(
    list=extend_schema(summary="List your tokens, without their secrets"),
    destroy=extend_schema(summary="Revoke a token", responses={204: None}),
)
class TokenViewSet(KnownParameters, mixins.ListModelMixin, mixins.DestroyModelMixin, viewsets.GenericViewSet[ApiToken]):
    serializer_class = TokenSerializer
    queryset = ApiToken.objects.none()
    lookup_field = "token_key"
    lookup_url_kwarg = "id"
    lookup_value_regex = "[0-9a-f]{1,25}"
    pagination_class = None

    def get_queryset(self) -> QuerySet[ApiToken]:
        return get_token_model().objects.filter(user=self.request.user)

    @extend_schema(
        summary="Create a token; only this response contains its secret",
        description="A token that was created with another token expires no later than that one.",
        responses={201: TokenMade},
    )
    def create(self, request: Request) -> Response:
        asked = self.get_serializer(data=request.data)
        asked.is_valid(raise_exception=True)
        token, secret = asked.save(user=request.user, maker=request.auth)
        return Response({**self.get_serializer(token).data, "token": secret}, status=status.HTTP_201_CREATED)


class SchemaView(KnownParameters, SpectacularAPIView):
    """The OpenAPI description. The library would write `version` into a header, and keep words for each `lang`."""


class ModelsView(KnownParameters):
    permission_classes = [permissions.AllowAny]

    @extend_schema(
        summary="List the installed models, and which one is served", responses={200: ModelSerializer(many=True)}
    )
    def get(self, request: Request) -> Response:
        return Response(ModelSerializer(bundles.models(), many=True).data)


class StatisticsView(KnownParameters):
    permission_classes = [permissions.AllowAny]

    @extend_schema(summary="Count the predictions you may see", responses={200: StatisticsSerializer})
    def get(self, request: Request) -> Response:
        return Response(dataclasses.asdict(statistics.statistics(access.person_of(request))))
