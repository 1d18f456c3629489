# Shroff on AWS: a service on Fargate with its log in PostgreSQL and its folder on EFS; training when objects arrive.
locals {
  name    = "shroff-${var.environment}"
  account = data.aws_caller_identity.here.account_id
  region  = data.aws_region.here.region
  port    = 8080            # of `shroff serve`
  user    = 10001           # of the image
  folder  = "/data/project" # of the image
  zones   = slice(data.aws_availability_zones.here.names, 0, 2)
  # ${NAME} of shroff.yaml; the secrets among them come from Secrets Manager.
  settings = {
    SHROFF_DB_HOST   = aws_db_instance.log.address
    PROCESSED_BUCKET = aws_s3_bucket.bucket["processed"].bucket
    SNS_TOPIC        = aws_sns_topic.topic["payments"].arn
    SMTP_HOST        = var.smtp_host
    DOMAIN           = var.domain
  }
  secrets = {
    SHROFF_DB_PASSWORD = "database-password"
    SMTP_PASSWORD      = "smtp-password"
  }
}

data "aws_caller_identity" "here" {}

data "aws_region" "here" {}

data "aws_availability_zones" "here" {
  state = "available"
}

# --- one key for what is kept

resource "aws_kms_key" "key" {
  description             = local.name
  enable_key_rotation     = true
  deletion_window_in_days = 30
  policy                  = data.aws_iam_policy_document.key.json
}

resource "aws_kms_alias" "key" {
  name          = "alias/${local.name}"
  target_key_id = aws_kms_key.key.key_id
}

data "aws_iam_policy_document" "key" {
  statement {
    sid = "administrators" # of the account, by their own policies
    principals {
      type        = "AWS"
      identifiers = ["arn:aws:iam::${local.account}:root"]
    }
    actions = [
      "kms:CancelKeyDeletion", "kms:CreateAlias", "kms:CreateGrant", "kms:Decrypt", "kms:DeleteAlias", "kms:DescribeKey",
      "kms:EnableKeyRotation", "kms:Encrypt", "kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext",
      "kms:GetKeyPolicy", "kms:GetKeyRotationStatus", "kms:ListGrants", "kms:ListResourceTags", "kms:PutKeyPolicy",
      "kms:ReEncryptFrom", "kms:ReEncryptTo", "kms:RevokeGrant", "kms:ScheduleKeyDeletion", "kms:TagResource",
      "kms:UntagResource", "kms:UpdateAlias", "kms:UpdateKeyDescription",
    ]
    resources = ["*"]
  }
  statement {
    sid = "services" # that encrypt for us: the trail, alarms, events, topics
    principals {
      type = "Service"
      identifiers = [
        "cloudtrail.amazonaws.com", "cloudwatch.amazonaws.com", "events.amazonaws.com", "sns.amazonaws.com",
      ]
    }
    actions   = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey"]
    resources = ["*"]
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
  statement {
    sid = "logs" # a log group says which one it is, and not the account
    principals {
      type        = "Service"
      identifiers = ["logs.${local.region}.amazonaws.com"]
    }
    actions   = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey"]
    resources = ["*"]
    condition {
      test     = "ArnLike"
      variable = "kms:EncryptionContext:aws:logs:arn"
      values   = ["arn:aws:logs:${local.region}:${local.account}:log-group:/${local.name}/*"]
    }
  }
}

resource "aws_ecr_repository" "images" {
  name                 = local.name
  image_tag_mutability = "IMMUTABLE"
  encryption_configuration {
    encryption_type = "KMS"
    kms_key         = aws_kms_key.key.arn
  }
  image_scanning_configuration {
    scan_on_push = true
  }
}

resource "aws_secretsmanager_secret" "secret" {
  for_each   = toset(values(local.secrets))
  name       = "${local.name}/${each.key}"
  kms_key_id = aws_kms_key.key.arn
}

ephemeral "random_password" "database" {
  length  = 32
  special = false
}

resource "aws_secretsmanager_secret_version" "database" {
  secret_id                = aws_secretsmanager_secret.secret["database-password"].id
  secret_string_wo         = ephemeral.random_password.database.result
  secret_string_wo_version = var.database_password_version
}

ephemeral "aws_secretsmanager_secret_version" "database" {
  secret_id = aws_secretsmanager_secret_version.database.secret_id
}
