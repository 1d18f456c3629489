"""Where a lake's objects lie: a folder, or a bucket of S3, GCS or Azure."""
