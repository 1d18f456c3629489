# What is kept: buckets, the log (PostgreSQL), the project's folder (EFS), and the catalog of the lake's tables.

locals {
  buckets = {
    raw       = "objects that train: everything below incoming/"
    processed = "the lake, snapshots, and which object started which training"
    models    = "a copy of the registry of models"
    archive   = "objects that have trained"
  }
}

resource "aws_s3_bucket" "bucket" {
  for_each = local.buckets
  bucket   = "${local.name}-${local.account}-${each.key}"
}

resource "aws_s3_bucket_versioning" "bucket" {
  for_each = aws_s3_bucket.bucket
  bucket   = each.value.id
  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "bucket" {
  for_each = aws_s3_bucket.bucket
  bucket   = each.value.id
  rule {
    bucket_key_enabled = true
    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.key.arn
    }
  }
}

resource "aws_s3_bucket_public_access_block" "bucket" {
  for_each                = merge(aws_s3_bucket.bucket, { logs = aws_s3_bucket.logs })
  bucket                  = each.value.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_lifecycle_configuration" "bucket" {
  for_each = merge(aws_s3_bucket.bucket, { logs = aws_s3_bucket.logs })
  bucket   = each.value.id
  rule {
    id     = "old"
    status = "Enabled"
    filter {}
    noncurrent_version_expiration {
      noncurrent_days = 30
    }
    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
    dynamic "transition" {
      for_each = each.key == "archive" ? [90] : []
      content {
        days          = transition.value
        storage_class = "GLACIER_IR"
      }
    }
    dynamic "expiration" {
      for_each = each.key == "logs" ? [400] : []
      content {
        days = expiration.value
      }
    }
  }
}

resource "aws_s3_bucket_policy" "tls" {
  for_each = aws_s3_bucket.bucket
  bucket   = each.value.id
  policy   = data.aws_iam_policy_document.tls[each.key].json
}

data "aws_iam_policy_document" "tls" {
  for_each = aws_s3_bucket.bucket
  statement {
    sid     = "tls"
    effect  = "Deny"
    actions = ["s3:*"]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
    resources = [each.value.arn, "${each.value.arn}/*"]
    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_s3_bucket_notification" "raw" {
  bucket      = aws_s3_bucket.bucket["raw"].id
  eventbridge = true
}

# --- logs of the load balancer and the trail; the load balancer writes only where S3 itself has the key

resource "aws_s3_bucket" "logs" {
  bucket = "${local.name}-${local.account}-logs"
}

resource "aws_s3_bucket_versioning" "logs" {
  bucket = aws_s3_bucket.logs.id
  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "logs" {
  bucket = aws_s3_bucket.logs.id
  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_policy" "logs" {
  bucket = aws_s3_bucket.logs.id
  policy = data.aws_iam_policy_document.logs.json
}

data "aws_iam_policy_document" "logs" {
  statement {
    sid       = "balancer"
    actions   = ["s3:PutObject"]
    resources = ["${aws_s3_bucket.logs.arn}/balancer/AWSLogs/${local.account}/*"]
    principals {
      type        = "Service"
      identifiers = ["logdelivery.elasticloadbalancing.amazonaws.com"]
    }
  }
  statement {
    sid       = "trail"
    actions   = ["s3:GetBucketAcl"]
    resources = [aws_s3_bucket.logs.arn]
    principals {
      type        = "Service"
      identifiers = ["cloudtrail.amazonaws.com"]
    }
  }
  statement {
    sid       = "trailwrites"
    actions   = ["s3:PutObject"]
    resources = ["${aws_s3_bucket.logs.arn}/AWSLogs/${local.account}/*"]
    principals {
      type        = "Service"
      identifiers = ["cloudtrail.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "s3:x-amz-acl"
      values   = ["bucket-owner-full-control"]
    }
  }
}

# --- the log

resource "aws_db_subnet_group" "log" {
  name       = local.name
  subnet_ids = aws_subnet.private[*].id
}

resource "aws_db_parameter_group" "log" {
  name   = local.name
  family = "postgres17"
  parameter {
    name  = "rds.force_ssl"
    value = "1"
  }
  parameter {
    name  = "log_lock_waits"
    value = "1"
  }
}

resource "aws_db_instance" "log" {
  identifier                      = local.name
  engine                          = "postgres"
  engine_version                  = "17"
  instance_class                  = var.database_class
  multi_az                        = var.database_standby
  db_name                         = "shroff"
  username                        = "shroff"
  password_wo                     = ephemeral.aws_secretsmanager_secret_version.database.secret_string
  password_wo_version             = var.database_password_version
  allocated_storage               = 50
  max_allocated_storage           = 1000
  storage_type                    = "gp3"
  storage_encrypted               = true
  kms_key_id                      = aws_kms_key.key.arn
  db_subnet_group_name            = aws_db_subnet_group.log.name
  parameter_group_name            = aws_db_parameter_group.log.name
  vpc_security_group_ids          = [aws_security_group.group["database"].id]
  publicly_accessible             = false
  backup_retention_period         = 14
  copy_tags_to_snapshot           = true
  auto_minor_version_upgrade      = true
  deletion_protection             = true
  skip_final_snapshot             = false
  final_snapshot_identifier       = "${local.name}-final"
  enabled_cloudwatch_logs_exports = ["postgresql", "upgrade"]
  performance_insights_enabled    = true
  performance_insights_kms_key_id = aws_kms_key.key.arn
}

# --- the project's folder

resource "aws_efs_file_system" "project" {
  encrypted       = true
  kms_key_id      = aws_kms_key.key.arn
  throughput_mode = "elastic"
  tags            = { Name = local.name }
  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_efs_backup_policy" "project" {
  file_system_id = aws_efs_file_system.project.id
  backup_policy {
    status = "ENABLED"
  }
}

resource "aws_efs_mount_target" "project" {
  count           = 2
  file_system_id  = aws_efs_file_system.project.id
  subnet_id       = aws_subnet.private[count.index].id
  security_groups = [aws_security_group.group["folder"].id]
}

resource "aws_efs_access_point" "project" {
  file_system_id = aws_efs_file_system.project.id
  posix_user {
    uid = local.user
    gid = local.user
  }
  root_directory {
    path = "/project"
    creation_info {
      owner_uid   = local.user
      owner_gid   = local.user
      permissions = "0750"
    }
  }
}

# --- the lake's tables, for Athena and Glue; a day is a folder

resource "aws_glue_catalog_database" "lake" {
  name = replace(local.name, "-", "_")
}

resource "aws_glue_catalog_table" "table" {
  for_each      = { for file in fileset(var.tables, "*.json") : trimsuffix(file, ".json") => jsondecode(file("${var.tables}/${file}")) }
  database_name = aws_glue_catalog_database.lake.name
  name          = each.key
  table_type    = "EXTERNAL_TABLE"
  parameters = {
    "classification"         = "parquet"
    "projection.enabled"     = "true"
    "projection.date.type"   = "date"
    "projection.date.format" = "yyyy-MM-dd"
    "projection.date.range"  = "2020-01-01,NOW"
  }
  partition_keys {
    name = "date"
    type = "date"
  }
  storage_descriptor {
    location      = "s3://${aws_s3_bucket.bucket["processed"].bucket}/lake/${each.value.folder}/"
    input_format  = "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat"
    output_format = "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat"
    ser_de_info {
      serialization_library = "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe"
    }
    dynamic "columns" {
      for_each = each.value.columns
      content {
        name = columns.value.name
        type = columns.value.type
      }
    }
  }
}
