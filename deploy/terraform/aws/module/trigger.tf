# A new object below incoming/ starts training, once. When that ends well, the object goes to the archive.

locals {
  incoming = "incoming/"
  events = {
    object = {
      source      = ["aws.s3"]
      detail-type = ["Object Created"]
      detail      = { bucket = { name = [aws_s3_bucket.bucket["raw"].bucket] }, object = { key = [{ prefix = local.incoming }] } }
    }
    ended = {
      source      = ["aws.ecs"]
      detail-type = ["ECS Task State Change"]
      detail      = { clusterArn = [aws_ecs_cluster.cluster.arn], lastStatus = ["STOPPED"], startedBy = [{ prefix = "shroff/" }] }
    }
  }
}

resource "aws_cloudwatch_event_rule" "event" {
  for_each      = local.events
  name          = "${local.name}-${each.key}"
  event_pattern = jsonencode(each.value)
}

resource "aws_cloudwatch_event_target" "event" {
  for_each = local.events
  rule     = aws_cloudwatch_event_rule.event[each.key].name
  arn      = aws_lambda_function.trigger.arn
  dead_letter_config {
    arn = aws_sqs_queue.lost.arn
  }
}

resource "aws_lambda_permission" "event" {
  for_each      = local.events
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.trigger.function_name
  principal     = "events.amazonaws.com"
  source_arn    = aws_cloudwatch_event_rule.event[each.key].arn
}

data "archive_file" "trigger" {
  type        = "zip"
  source_file = "${path.module}/../../../aws/trigger/handler.py"
  output_path = "${path.root}/.terraform/trigger.zip"
}

resource "aws_lambda_function" "trigger" {
  function_name                  = "${local.name}-trigger"
  role                           = aws_iam_role.part["trigger"].arn
  runtime                        = "python3.13"
  handler                        = "handler.handler"
  filename                       = data.archive_file.trigger.output_path
  source_code_hash               = data.archive_file.trigger.output_base64sha256
  timeout                        = 60
  memory_size                    = 256
  reserved_concurrent_executions = var.trigger_concurrency
  kms_key_arn                    = aws_kms_key.key.arn
  environment {
    variables = {
      RAW_BUCKET       = aws_s3_bucket.bucket["raw"].bucket
      PROCESSED_BUCKET = aws_s3_bucket.bucket["processed"].bucket
      ARCHIVE_BUCKET   = aws_s3_bucket.bucket["archive"].bucket
      INCOMING         = local.incoming
      CLUSTER          = aws_ecs_cluster.cluster.arn
      TASK             = aws_ecs_task_definition.part["train"].arn
      SUBNETS          = join(",", aws_subnet.private[*].id)
      SECURITY_GROUP   = aws_security_group.group["tasks"].id
      ALARMS           = aws_sns_topic.topic["alarms"].arn
    }
  }
  logging_config {
    log_format = "JSON"
    log_group  = aws_cloudwatch_log_group.log["trigger"].name
  }
  tracing_config {
    mode = "PassThrough"
  }
  dead_letter_config {
    target_arn = aws_sqs_queue.lost.arn
  }
}

resource "aws_lambda_function_event_invoke_config" "trigger" {
  function_name                = aws_lambda_function.trigger.function_name
  maximum_retry_attempts       = 2
  maximum_event_age_in_seconds = 21600
}

resource "aws_sqs_queue" "lost" { # events that could not be handled; an alarm looks at it
  name                      = "${local.name}-lost"
  message_retention_seconds = 1209600
  kms_master_key_id         = aws_kms_key.key.arn
}

resource "aws_sqs_queue_policy" "lost" {
  queue_url = aws_sqs_queue.lost.id
  policy    = data.aws_iam_policy_document.lost.json
}

data "aws_iam_policy_document" "lost" {
  statement {
    sid       = "events"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.lost.arn]
    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }
    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [for rule in aws_cloudwatch_event_rule.event : rule.arn]
    }
  }
}
