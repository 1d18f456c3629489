# One role for each part, with exactly the actions of its work on exactly what it works on. Where a resource ends with *,
# deploy/aws/verify/wildcards.py says why; tests/deploy and verify_iam_roles.py refuse any other.

locals {
  principals = merge(
    { for part in keys(local.parts) : part => "ecs-tasks.amazonaws.com" },
    { trigger = "lambda.amazonaws.com", flow-log = "vpc-flow-logs.amazonaws.com", trail = "cloudtrail.amazonaws.com" },
  )
  policies = {
    service  = data.aws_iam_policy_document.service.json
    workers  = data.aws_iam_policy_document.workers.json
    train    = data.aws_iam_policy_document.train.json
    files    = data.aws_iam_policy_document.files.json
    trigger  = data.aws_iam_policy_document.trigger.json
    flow-log = data.aws_iam_policy_document.flow_log.json
    trail    = data.aws_iam_policy_document.trail.json
  }
}

data "aws_iam_policy_document" "trust" {
  for_each = local.principals
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = [each.value]
    }
    dynamic "condition" { # the services that say for which account they ask
      for_each = contains(["ecs-tasks.amazonaws.com", "vpc-flow-logs.amazonaws.com"], each.value) ? [local.account] : []
      content {
        test     = "StringEquals"
        variable = "aws:SourceAccount"
        values   = [condition.value]
      }
    }
  }
}

resource "aws_iam_role" "part" {
  for_each           = local.principals
  name               = "${local.name}-${each.key}"
  assume_role_policy = data.aws_iam_policy_document.trust[each.key].json
}

resource "aws_iam_role_policy" "part" {
  for_each = local.policies
  name     = each.key
  role     = aws_iam_role.part[each.key].id
  policy   = each.value
}

# --- to start a task: its image, its log, its secrets

resource "aws_iam_role" "start" {
  for_each           = local.parts
  name               = "${local.name}-start-${each.key}"
  assume_role_policy = data.aws_iam_policy_document.trust[each.key].json
}

resource "aws_iam_role_policy" "start" {
  for_each = local.parts
  name     = "start"
  role     = aws_iam_role.start[each.key].id
  policy   = data.aws_iam_policy_document.start[each.key].json
}

data "aws_iam_policy_document" "start" {
  for_each = local.parts
  statement {
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }
  statement {
    actions   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    resources = [aws_ecr_repository.images.arn]
  }
  statement {
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.log[each.key].arn}:*"]
  }
  statement {
    actions   = ["secretsmanager:GetSecretValue"]
    resources = [for name in each.value.secrets : aws_secretsmanager_secret.secret[local.secrets[name]].arn]
  }
  statement {
    actions   = ["kms:Decrypt"]
    resources = [aws_kms_key.key.arn]
  }
}

# --- the work of each part

data "aws_iam_policy_document" "folder" {
  statement {
    actions   = ["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"]
    resources = [aws_efs_file_system.project.arn]
    condition {
      test     = "StringEquals"
      variable = "elasticfilesystem:AccessPointArn"
      values   = [aws_efs_access_point.project.arn]
    }
  }
}

data "aws_iam_policy_document" "lake" {
  statement {
    actions   = ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
    resources = ["${aws_s3_bucket.bucket["processed"].arn}/lake/*", "${aws_s3_bucket.bucket["processed"].arn}/snapshots/*"]
  }
  statement {
    actions   = ["s3:ListBucket"]
    resources = [aws_s3_bucket.bucket["processed"].arn]
  }
  statement {
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [aws_kms_key.key.arn]
  }
}

data "aws_iam_policy_document" "service" {
  source_policy_documents = [data.aws_iam_policy_document.folder.json, data.aws_iam_policy_document.lake.json]
}

data "aws_iam_policy_document" "workers" {
  source_policy_documents = [data.aws_iam_policy_document.folder.json, data.aws_iam_policy_document.lake.json]
}

data "aws_iam_policy_document" "files" {
  source_policy_documents = [data.aws_iam_policy_document.folder.json]
}

data "aws_iam_policy_document" "train" {
  source_policy_documents = [data.aws_iam_policy_document.folder.json]
  statement { # the lake has the old events, where `keep` is set
    actions   = ["s3:GetObject"]
    resources = ["${aws_s3_bucket.bucket["raw"].arn}/${local.incoming}*", "${aws_s3_bucket.bucket["processed"].arn}/lake/*"]
  }
  statement {
    actions   = ["s3:PutObject"]
    resources = ["${aws_s3_bucket.bucket["models"].arn}/models/*"]
  }
  statement {
    actions   = ["s3:ListBucket"]
    resources = [aws_s3_bucket.bucket["raw"].arn, aws_s3_bucket.bucket["processed"].arn, aws_s3_bucket.bucket["models"].arn]
  }
  statement {
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [aws_kms_key.key.arn]
  }
}

data "aws_iam_policy_document" "trigger" {
  statement {
    actions   = ["s3:DeleteObject", "s3:GetObject", "s3:GetObjectVersion"]
    resources = ["${aws_s3_bucket.bucket["raw"].arn}/${local.incoming}*"]
  }
  statement {
    actions   = ["s3:PutObject"]
    resources = ["${aws_s3_bucket.bucket["archive"].arn}/${local.incoming}*"]
  }
  statement {
    actions   = ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
    resources = ["${aws_s3_bucket.bucket["processed"].arn}/claims/*"]
  }
  statement { # so that an object that is not there is told from one that may not be seen
    actions   = ["s3:ListBucket"]
    resources = [aws_s3_bucket.bucket["raw"].arn, aws_s3_bucket.bucket["processed"].arn]
  }
  statement {
    actions   = ["ecs:RunTask"]
    resources = [aws_ecs_task_definition.part["train"].arn]
  }
  statement {
    actions   = ["iam:PassRole"]
    resources = [aws_iam_role.part["train"].arn, aws_iam_role.start["train"].arn]
    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["ecs-tasks.amazonaws.com"]
    }
  }
  statement {
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.topic["alarms"].arn]
  }
  statement {
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.lost.arn]
  }
  statement {
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.log["trigger"].arn}:*"]
  }
  statement {
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [aws_kms_key.key.arn]
  }
}

data "aws_iam_policy_document" "flow_log" {
  statement {
    actions   = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.log["network"].arn}:*"]
  }
}

data "aws_iam_policy_document" "trail" {
  statement {
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.log["trail"].arn}:*"]
  }
}

data "aws_iam_policy_document" "efs" {
  statement {
    sid       = "tls"
    effect    = "Deny"
    actions   = ["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"]
    resources = [aws_efs_file_system.project.arn]
    principals {
      type        = "AWS"
      identifiers = ["*"]
    }
    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_efs_file_system_policy" "project" {
  file_system_id = aws_efs_file_system.project.id
  policy         = data.aws_iam_policy_document.efs.json
}
