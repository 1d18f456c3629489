# Shroff on Google Cloud: a service on Cloud Run with its log in Cloud SQL, jobs by the clock, BigQuery for analysts.
locals {
  name   = "shroff-${var.environment}"
  port   = 8080            # of `shroff serve`
  folder = "/data/project" # of the image
  # ${NAME} of shroff.yaml; the secrets among them come from Secret Manager.
  settings = {
    SHROFF_DB_HOST      = google_sql_database_instance.log.private_ip_address
    LAKE_BUCKET         = google_storage_bucket.bucket["lake"].name
    SNAPSHOT_BUCKET     = google_storage_bucket.bucket["snapshots"].name
    PUBSUB_SUBSCRIPTION = google_pubsub_subscription.payments.id
    PUBSUB_REFUSED      = google_pubsub_topic.topic["refused"].id
    PUBSUB_DECISIONS    = google_pubsub_topic.topic["decisions"].id
    AMPLITUDE_FROM      = var.amplitude_from
    SMTP_HOST           = var.smtp_host
    SNS_TOPIC           = var.sns_topic
  }
  secrets = {
    SHROFF_DB_PASSWORD   = "database-password"
    AMPLITUDE_API_KEY    = "amplitude-api-key"
    AMPLITUDE_SECRET_KEY = "amplitude-secret-key"
    SMTP_PASSWORD        = "smtp-password"
  }
}

resource "google_project_service" "api" {
  for_each = toset([
    "artifactregistry", "bigquery", "billingbudgets", "cloudresourcemanager", "cloudscheduler", "compute", "file", "iam", "iap",
    "monitoring", "pubsub", "run", "secretmanager", "servicenetworking", "sqladmin",
  ])
  service            = "${each.key}.googleapis.com"
  disable_on_destroy = false
}

resource "google_artifact_registry_repository" "images" {
  repository_id = local.name
  location      = var.region
  format        = "DOCKER"
  docker_config {
    immutable_tags = true
  }
  depends_on = [google_project_service.api]
}

# --- network: addresses of its own, nothing may come in

resource "google_compute_network" "net" {
  name                    = local.name
  auto_create_subnetworks = false
  depends_on              = [google_project_service.api]
}

resource "google_compute_subnetwork" "net" {
  name                     = local.name
  network                  = google_compute_network.net.id
  region                   = var.region
  ip_cidr_range            = "10.20.0.0/24"
  private_ip_google_access = true
  log_config {
    aggregation_interval = "INTERVAL_10_MIN"
    flow_sampling        = 0.1
  }
}

resource "google_compute_firewall" "closed" {
  name          = "${local.name}-closed"
  network       = google_compute_network.net.id
  direction     = "INGRESS"
  priority      = 65000
  source_ranges = ["0.0.0.0/0"]
  deny {
    protocol = "all"
  }
  log_config {
    metadata = "INCLUDE_ALL_METADATA"
  }
}

resource "google_compute_global_address" "services" {
  name          = "${local.name}-services"
  network       = google_compute_network.net.id
  purpose       = "VPC_PEERING"
  address_type  = "INTERNAL"
  prefix_length = 20
}

resource "google_service_networking_connection" "services" {
  network                 = google_compute_network.net.id
  service                 = "servicenetworking.googleapis.com"
  reserved_peering_ranges = [google_compute_global_address.services.name]
}
