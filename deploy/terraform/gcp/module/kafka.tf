# A small Kafka: one machine without an address of its own. Only addresses of our subnet reach its one port.

locals {
  kafka      = var.has_kafka ? 1 : 0
  kafka_port = 9092
}

resource "google_compute_firewall" "kafka" {
  count                   = local.kafka
  name                    = "${local.name}-kafka"
  network                 = google_compute_network.net.id
  direction               = "INGRESS"
  priority                = 1000
  source_ranges           = [google_compute_subnetwork.net.ip_cidr_range]
  target_service_accounts = [google_service_account.part["kafka"].email]
  allow {
    protocol = "tcp"
    ports    = [tostring(local.kafka_port)]
  }
}

resource "google_compute_disk" "kafka" {
  count = local.kafka
  name  = "${local.name}-kafka"
  zone  = "${var.region}-b"
  type  = "pd-balanced"
  size  = 50
  lifecycle {
    prevent_destroy = true
  }
}

resource "google_compute_resource_policy" "kafka" {
  count  = local.kafka
  name   = "${local.name}-kafka"
  region = var.region
  snapshot_schedule_policy {
    schedule {
      daily_schedule {
        days_in_cycle = 1
        start_time    = "03:00"
      }
    }
    retention_policy {
      max_retention_days    = 14
      on_source_disk_delete = "KEEP_AUTO_SNAPSHOTS"
    }
  }
}

resource "google_compute_disk_resource_policy_attachment" "kafka" {
  count = local.kafka
  name  = google_compute_resource_policy.kafka[0].name
  disk  = google_compute_disk.kafka[0].name
  zone  = google_compute_disk.kafka[0].zone
}

resource "google_compute_instance" "kafka" {
  count        = local.kafka
  name         = "${local.name}-kafka"
  zone         = "${var.region}-b"
  machine_type = "e2-medium"
  boot_disk {
    initialize_params {
      image = "cos-cloud/cos-121-lts"
      size  = 10
    }
  }
  attached_disk {
    source      = google_compute_disk.kafka[0].id
    device_name = "kafka"
  }
  network_interface {
    subnetwork = google_compute_subnetwork.net.id # no access_config: no public address
  }
  shielded_instance_config {
    enable_secure_boot          = true
    enable_vtpm                 = true
    enable_integrity_monitoring = true
  }
  service_account {
    email  = google_service_account.part["kafka"].email
    scopes = ["logging-write"]
  }
  metadata = {
    user-data              = templatefile("${path.module}/kafka.yaml", { port = local.kafka_port, host = "${local.name}-kafka.${var.region}-b.c.${var.project}.internal" })
    block-project-ssh-keys = "true"
  }
}

resource "google_project_iam_member" "kafka" {
  project = var.project
  role    = "roles/logging.logWriter"
  member  = google_service_account.part["kafka"].member
}

# The machine fetches Kafka's image from Docker Hub, and has no address of its own.
resource "google_compute_router" "out" {
  count   = local.kafka
  name    = local.name
  network = google_compute_network.net.id
  region  = var.region
}

resource "google_compute_router_nat" "out" {
  count                              = local.kafka
  name                               = local.name
  router                             = google_compute_router.out[0].name
  region                             = var.region
  nat_ip_allocate_option             = "AUTO_ONLY"
  source_subnetwork_ip_ranges_to_nat = "ALL_SUBNETWORKS_ALL_IP_RANGES"
}
