# Logs, alarms, a dashboard, the trail of who did what; and the topics: payments to the service, alarms to people.

locals {
  topics = ["payments", "alarms"]
  hook   = "https://${var.domain}/hooks/payments" # the source of that name in shroff.yaml
  logs   = concat(keys(local.parts), ["trigger", "network", "trail"])
}

resource "aws_sns_topic" "topic" {
  for_each          = toset(local.topics)
  name              = "${local.name}-${each.key}"
  kms_master_key_id = aws_kms_key.key.arn
  signature_version = 2 # SHA-256
}

resource "aws_sns_topic_subscription" "hook" { # AWS waits a minute for the service to confirm it
  count                  = var.is_subscribed ? 1 : 0
  topic_arn              = aws_sns_topic.topic["payments"].arn
  protocol               = "https"
  endpoint               = local.hook
  endpoint_auto_confirms = true # shroff.yaml: subscribe: auto
  redrive_policy         = jsonencode({ deadLetterTargetArn = aws_sqs_queue.undelivered.arn })
}

resource "aws_sqs_queue" "undelivered" { # payments that the service did not take within SNS's retries
  name                      = "${local.name}-undelivered"
  message_retention_seconds = 1209600
  kms_master_key_id         = aws_kms_key.key.arn
}

resource "aws_sqs_queue_policy" "undelivered" {
  queue_url = aws_sqs_queue.undelivered.id
  policy    = data.aws_iam_policy_document.undelivered.json
}

data "aws_iam_policy_document" "undelivered" {
  statement {
    sid       = "payments"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.undelivered.arn]
    principals {
      type        = "Service"
      identifiers = ["sns.amazonaws.com"]
    }
    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [aws_sns_topic.topic["payments"].arn]
    }
  }
}

resource "aws_sns_topic_policy" "alarms" {
  arn    = aws_sns_topic.topic["alarms"].arn
  policy = data.aws_iam_policy_document.alarms.json
}

data "aws_iam_policy_document" "alarms" {
  statement {
    sid       = "alarms"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.topic["alarms"].arn]
    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
}

resource "aws_sns_topic_subscription" "operators" {
  topic_arn = aws_sns_topic.topic["alarms"].arn
  protocol  = "email"
  endpoint  = var.operators
}

resource "aws_cloudwatch_log_group" "log" {
  for_each          = toset(local.logs)
  name              = "/${local.name}/${each.key}"
  retention_in_days = 365
  kms_key_id        = aws_kms_key.key.arn
}

locals {
  balancer = { LoadBalancer = aws_lb.balancer.arn_suffix }
  alarms = {
    not-ready = {
      says = "No task accepts events for 3 minutes. GET /health/ready names its state."
      of   = ["AWS/ApplicationELB", "HealthyHostCount", "Minimum"], at = merge(local.balancer, { TargetGroup = aws_lb_target_group.service.arn_suffix })
      when = ["LessThanThreshold", 1], minutes = 3, missing = "breaching"
    }
    errors = {
      says = "The service answers with status 5xx: its log has each error with its id."
      of   = ["AWS/ApplicationELB", "HTTPCode_Target_5XX_Count", "Sum"], at = local.balancer
      when = ["GreaterThanThreshold", 5], minutes = 5, missing = "notBreaching"
    }
    slow = {
      says = "One in a hundred requests takes longer than half a second."
      of   = ["AWS/ApplicationELB", "TargetResponseTime", "p99"], at = local.balancer
      when = ["GreaterThanThreshold", 0.5], minutes = 5, missing = "notBreaching"
    }
    database-disk = {
      says = "The log's database has less than 10 GB of disk left."
      of   = ["AWS/RDS", "FreeStorageSpace", "Minimum"], at = { DBInstanceIdentifier = aws_db_instance.log.identifier }
      when = ["LessThanThreshold", 10000000000], minutes = 5, missing = "breaching"
    }
    database-cpu = {
      says = "The log's database works at more than 85 % of its processors."
      of   = ["AWS/RDS", "CPUUtilization", "Average"], at = { DBInstanceIdentifier = aws_db_instance.log.identifier }
      when = ["GreaterThanThreshold", 85], minutes = 10, missing = "notBreaching"
    }
    trigger-failed = {
      says = "The function that starts training fails. Its log says why; the event is in the queue of lost ones."
      of   = ["AWS/Lambda", "Errors", "Sum"], at = { FunctionName = aws_lambda_function.trigger.function_name }
      when = ["GreaterThanThreshold", 0], minutes = 1, missing = "notBreaching"
    }
    lost = {
      says = "Events could not be handled: an object waits that nothing trains on."
      of   = ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "Maximum"], at = { QueueName = aws_sqs_queue.lost.name }
      when = ["GreaterThanThreshold", 0], minutes = 1, missing = "notBreaching"
    }
    undelivered = {
      says = "SNS gave up delivering payments. Send them again from the queue when the service is ready."
      of   = ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "Maximum"], at = { QueueName = aws_sqs_queue.undelivered.name }
      when = ["GreaterThanThreshold", 0], minutes = 1, missing = "notBreaching"
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "alarm" {
  for_each            = local.alarms
  alarm_name          = "${local.name}-${each.key}"
  alarm_description   = each.value.says
  namespace           = each.value.of[0]
  metric_name         = each.value.of[1]
  statistic           = startswith(each.value.of[2], "p") ? null : each.value.of[2]
  extended_statistic  = startswith(each.value.of[2], "p") ? each.value.of[2] : null
  dimensions          = each.value.at
  comparison_operator = each.value.when[0]
  threshold           = each.value.when[1]
  period              = 60
  evaluation_periods  = each.value.minutes
  treat_missing_data  = each.value.missing
  alarm_actions       = [aws_sns_topic.topic["alarms"].arn]
  ok_actions          = [aws_sns_topic.topic["alarms"].arn]
}

resource "aws_cloudwatch_dashboard" "board" {
  dashboard_name = local.name
  dashboard_body = jsonencode({
    widgets = [for number, name in keys(local.alarms) : {
      type   = "metric"
      x      = 8 * (number % 3)
      y      = 6 * floor(number / 3)
      width  = 8
      height = 6
      properties = {
        title       = name
        region      = local.region
        annotations = { alarms = [aws_cloudwatch_metric_alarm.alarm[name].arn] }
      }
    }]
  })
}

resource "aws_cloudtrail" "trail" {
  name                          = local.name
  s3_bucket_name                = aws_s3_bucket.logs.bucket
  kms_key_id                    = aws_kms_key.key.arn
  is_multi_region_trail         = true
  include_global_service_events = true
  enable_log_file_validation    = true
  cloud_watch_logs_group_arn    = "${aws_cloudwatch_log_group.log["trail"].arn}:*"
  cloud_watch_logs_role_arn     = aws_iam_role.part["trail"].arn
  event_selector {
    read_write_type           = "WriteOnly"
    include_management_events = true
    data_resource {
      type   = "AWS::S3::Object"
      values = [for name in ["raw", "models"] : "${aws_s3_bucket.bucket[name].arn}/"]
    }
  }
  depends_on = [aws_s3_bucket_policy.logs, aws_iam_role_policy.part]
}
