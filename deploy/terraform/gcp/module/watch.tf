# Who is notified, of what: alerts on the service, jobs, messages, disks; and a budget.

resource "google_monitoring_notification_channel" "operators" {
  display_name = "Operators of shroff (${var.environment})"
  type         = "email"
  labels       = { email_address = var.operators }
  depends_on   = [google_project_service.api]
}

resource "google_monitoring_uptime_check_config" "ready" {
  display_name = "${local.name} ready"
  timeout      = "10s"
  period       = "60s"
  http_check {
    path         = "/health/ready"
    port         = 443
    use_ssl      = true
    validate_ssl = true
  }
  monitored_resource {
    type   = "uptime_url"
    labels = { project_id = var.project, host = trimprefix(google_cloud_run_v2_service.service.uri, "https://") }
  }
}

locals {
  ours = "resource.labels.service_name=\"${local.name}\""
  alerts = {
    not-ready = {
      says     = "The service accepts no events for 3 minutes. GET /health/ready names its state."
      filter   = "metric.type=\"monitoring.googleapis.com/uptime_check/check_passed\" AND resource.type=\"uptime_url\" AND metric.labels.check_id=\"${google_monitoring_uptime_check_config.ready.uptime_check_id}\""
      aligner  = "ALIGN_FRACTION_TRUE"
      compare  = "COMPARISON_LT"
      limit    = 0.5
      duration = "180s"
    }
    errors = {
      says     = "The service answers with status 5xx: its log has each error with its id."
      filter   = "metric.type=\"run.googleapis.com/request_count\" AND resource.type=\"cloud_run_revision\" AND ${local.ours} AND metric.labels.response_code_class=\"5xx\""
      aligner  = "ALIGN_RATE"
      compare  = "COMPARISON_GT"
      limit    = 0.1
      duration = "300s"
    }
    job-failed = {
      says     = "A scheduled job failed. Its log in Cloud Run says why; start it again when that is mended."
      filter   = "metric.type=\"run.googleapis.com/job/completed_execution_count\" AND resource.type=\"cloud_run_job\" AND metric.labels.result=\"failed\""
      aligner  = "ALIGN_DELTA"
      compare  = "COMPARISON_GT"
      limit    = 0
      duration = "0s"
    }
    lag = {
      says     = "Payments wait in Pub/Sub for more than 5 minutes."
      filter   = "metric.type=\"pubsub.googleapis.com/subscription/oldest_unacked_message_age\" AND resource.type=\"pubsub_subscription\" AND resource.labels.subscription_id=\"${google_pubsub_subscription.payments.name}\""
      aligner  = "ALIGN_MAX"
      compare  = "COMPARISON_GT"
      limit    = 300
      duration = "60s"
    }
    refused = {
      says     = "Messages cannot be taken: see the quarantine, and the topic of refused messages."
      filter   = "metric.type=\"pubsub.googleapis.com/topic/send_message_operation_count\" AND resource.type=\"pubsub_topic\" AND resource.labels.topic_id=\"${google_pubsub_topic.topic["refused"].name}\""
      aligner  = "ALIGN_DELTA"
      compare  = "COMPARISON_GT"
      limit    = 0
      duration = "0s"
    }
    database-disk = {
      says     = "The disk of the log's database is nearly full."
      filter   = "metric.type=\"cloudsql.googleapis.com/database/disk/utilization\" AND resource.type=\"cloudsql_database\" AND resource.labels.database_id=\"${var.project}:${google_sql_database_instance.log.name}\""
      aligner  = "ALIGN_MAX"
      compare  = "COMPARISON_GT"
      limit    = 0.85
      duration = "300s"
    }
    folder-disk = {
      says     = "The disk of the project's folder is nearly full."
      filter   = "metric.type=\"file.googleapis.com/nfs/server/used_bytes_percent\" AND resource.type=\"filestore_instance\" AND resource.labels.instance_name=\"${google_filestore_instance.project.name}\""
      aligner  = "ALIGN_MAX"
      compare  = "COMPARISON_GT"
      limit    = 85
      duration = "300s"
    }
  }
}

resource "google_monitoring_alert_policy" "alert" {
  for_each              = local.alerts
  display_name          = "${local.name} ${each.key}"
  combiner              = "OR"
  notification_channels = [google_monitoring_notification_channel.operators.id]
  documentation {
    content = each.value.says
  }
  conditions {
    display_name = each.key
    condition_threshold {
      filter          = each.value.filter
      comparison      = each.value.compare
      threshold_value = each.value.limit
      duration        = each.value.duration
      aggregations {
        alignment_period   = "60s"
        per_series_aligner = each.value.aligner
      }
    }
  }
}

data "google_project" "project" {
  project_id = var.project
}

resource "google_billing_budget" "month" {
  billing_account = var.billing_account
  display_name    = local.name
  budget_filter {
    projects = ["projects/${data.google_project.project.number}"]
  }
  amount {
    specified_amount {
      currency_code = var.budget.currency
      units         = var.budget.units
    }
  }
  dynamic "threshold_rules" {
    for_each = [0.5, 0.9, 1.0]
    content {
      threshold_percent = threshold_rules.value
    }
  }
  all_updates_rule {
    monitoring_notification_channels = [google_monitoring_notification_channel.operators.id]
  }
}
