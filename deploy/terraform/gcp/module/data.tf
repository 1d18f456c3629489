# What is kept: the log (Cloud SQL), the project's folder (Filestore), the lake (buckets), tables (BigQuery), topics.

ephemeral "random_password" "database" {
  length  = 32
  special = false
}

resource "google_secret_manager_secret" "secret" {
  for_each  = toset(values(local.secrets))
  secret_id = "${local.name}-${each.key}"
  replication {
    user_managed {
      replicas {
        location = var.region
      }
    }
  }
  depends_on = [google_project_service.api]
}

resource "google_secret_manager_secret_version" "database" {
  secret                 = google_secret_manager_secret.secret["database-password"].id
  secret_data_wo         = ephemeral.random_password.database.result
  secret_data_wo_version = var.database_password_version
}

ephemeral "google_secret_manager_secret_version" "database" {
  secret  = google_secret_manager_secret.secret["database-password"].id
  version = google_secret_manager_secret_version.database.version
}

resource "google_sql_database_instance" "log" {
  name                = local.name
  region              = var.region
  database_version    = "POSTGRES_17"
  deletion_protection = true
  settings {
    edition                     = "ENTERPRISE"
    tier                        = var.database_tier
    availability_type           = var.database_standby ? "REGIONAL" : "ZONAL"
    deletion_protection_enabled = true
    disk_type                   = "PD_SSD"
    disk_autoresize             = true
    backup_configuration {
      enabled                        = true
      point_in_time_recovery_enabled = true
      start_time                     = "01:00"
      transaction_log_retention_days = 7
    }
    ip_configuration {
      ipv4_enabled    = false
      private_network = google_compute_network.net.id
      ssl_mode        = "ENCRYPTED_ONLY"
    }
    insights_config {
      query_insights_enabled = true
    }
    database_flags {
      name  = "log_checkpoints"
      value = "on"
    }
    database_flags {
      name  = "log_connections"
      value = "on"
    }
    database_flags {
      name  = "log_disconnections"
      value = "on"
    }
    database_flags {
      name  = "log_lock_waits"
      value = "on"
    }
  }
  depends_on = [google_service_networking_connection.services]
}

resource "google_sql_database" "log" {
  name     = "shroff"
  instance = google_sql_database_instance.log.name
}

resource "google_sql_user" "log" {
  name                = "shroff"
  instance            = google_sql_database_instance.log.name
  password_wo         = ephemeral.google_secret_manager_secret_version.database.secret_data
  password_wo_version = var.database_password_version
}

resource "google_filestore_instance" "project" {
  name     = local.name
  location = "${var.region}-b"
  tier     = "BASIC_HDD"
  lifecycle {
    prevent_destroy = true
  }
  file_shares {
    name        = "project"
    capacity_gb = 1024 # the smallest that there is
    nfs_export_options {
      ip_ranges   = [google_compute_subnetwork.net.ip_cidr_range]
      access_mode = "READ_WRITE"
      squash_mode = "NO_ROOT_SQUASH"
    }
  }
  networks {
    network      = google_compute_network.net.name
    modes        = ["MODE_IPV4"]
    connect_mode = "DIRECT_PEERING"
  }
}

resource "google_storage_bucket" "bucket" {
  for_each                    = toset(["lake", "snapshots"])
  name                        = "${var.project}-${local.name}-${each.key}"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  soft_delete_policy {
    retention_duration_seconds = 604800
  }
  versioning {
    enabled = true
  }
  lifecycle_rule {
    condition {
      days_since_noncurrent_time = 30
    }
    action {
      type = "Delete"
    }
  }
}

# --- BigQuery: one table for each schema of the program

resource "google_bigquery_dataset" "fraud" {
  dataset_id = "fraud_${var.environment}"
  location   = var.region
  depends_on = [google_project_service.api]
}

resource "google_bigquery_table" "table" {
  for_each            = { for file in fileset(var.schemas, "*.json") : trimsuffix(file, ".json") => file("${var.schemas}/${file}") }
  dataset_id          = google_bigquery_dataset.fraud.dataset_id
  table_id            = each.key
  schema              = each.value
  deletion_protection = true
  dynamic "time_partitioning" {
    for_each = contains(jsondecode(each.value)[*].name, "date") ? ["date"] : []
    content {
      type  = "DAY"
      field = time_partitioning.value
    }
  }
}

# --- Pub/Sub

resource "google_pubsub_topic" "topic" {
  for_each                   = toset(["payments", "refused", "decisions"])
  name                       = "${local.name}-${each.key}"
  message_retention_duration = "604800s"
  message_storage_policy {
    allowed_persistence_regions = [var.region]
  }
  depends_on = [google_project_service.api]
}

resource "google_pubsub_subscription" "payments" {
  name                       = "${local.name}-payments"
  topic                      = google_pubsub_topic.topic["payments"].id
  enable_message_ordering    = true
  ack_deadline_seconds       = 60
  message_retention_duration = "604800s"
  expiration_policy {
    ttl = "" # never
  }
}
