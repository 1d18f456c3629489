"""Object stores of a lake: a folder, or a bucket of S3, GCS or Azure, and the settings of each in shroff.yaml."""

from __future__ import annotations

from shroff.language.keys import MappingShape
from shroff.streams.settings import BUCKET, AdapterSettings

_BUCKET = MappingShape("a bucket", BUCKET)
# A folder takes the settings of a bucket and has no use for them, so that `to: ${LAKE}` may name either.
FOLDER = AdapterSettings("Files in a folder.", _BUCKET)
S3 = AdapterSettings(
    "Objects of an S3 bucket.", _BUCKET, schemes={"s3": None}, form="s3://bucket/prefix", is_called=True
)
GCS = AdapterSettings(
    "Objects of a bucket in Google Cloud Storage.",
    _BUCKET,
    schemes={"gs": None},
    form="gs://bucket/prefix",
    is_called=True,
)
AZURE = AdapterSettings(
    "Blobs of an Azure container.",
    _BUCKET,
    schemes={"az": None, "abfss": None},
    form="az://container/prefix",
    is_called=True,
)
SETTINGS = {"s3": S3, "gcs": GCS, "azure": AZURE, "folder": FOLDER}
