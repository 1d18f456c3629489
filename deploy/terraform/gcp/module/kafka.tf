# Kafka of one or three brokers, each with a disk and in a zone of its own, and a machine with a schema registry and a UI. None has a public address. The registry keeps schemas in a topic, so its machine can be made anew.

data "google_compute_zones" "region" {
  region = var.region
}

locals {
  zones    = data.google_compute_zones.region.names
  replicas = { copies = min(3, var.kafka_brokers), in_sync = max(1, min(3, var.kafka_brokers) - 1) }
  brokers  = { for id in range(1, var.kafka_brokers + 1) : "kafka-${id}" => { id = id, zone = local.zones[(id - 1) % length(local.zones)] } }
  hosts    = { for name, one in local.brokers : one.id => "${local.name}-${name}.${one.zone}.c.${var.project}.internal" }
  machines = merge(local.brokers, { for name in ["registry"] : name => { id = 0, zone = local.zones[0] } if var.kafka_brokers > 0 })
  # Who reaches which port. Brokers reach each other's controllers, people the UI through Identity-Aware Proxy, whose addresses these are.
  kafka_ways = {
    clients     = { to = "kafka", port = 9092, from = google_compute_subnetwork.net.ip_cidr_range }
    controllers = { to = "kafka", port = 9093, from = null }
    registry    = { to = "registry", port = 8080, from = google_compute_subnetwork.net.ip_cidr_range }
    ui          = { to = "registry", port = 9080, from = "35.235.240.0/20" }
  }
  kafka_settings = merge(local.replicas, { for name, one in local.kafka_ways : "${name}_port" => one.port }, {
    servers = join(",", [for host in values(local.hosts) : "${host}:${local.kafka_ways.clients.port}"])
    voters  = join(",", [for id, host in local.hosts : "${id}@${host}:${local.kafka_ways.controllers.port}"])
  })
}

resource "google_compute_firewall" "kafka" {
  for_each                = { for name, one in local.kafka_ways : name => one if var.kafka_brokers > 0 }
  name                    = "${local.name}-kafka-${each.key}"
  network                 = google_compute_network.net.id
  direction               = "INGRESS"
  priority                = 1000
  source_ranges           = each.value.from == null ? null : [each.value.from]
  source_service_accounts = each.value.from == null ? [google_service_account.part["kafka"].email] : null
  target_service_accounts = [google_service_account.part[each.value.to].email]
  allow {
    protocol = "tcp"
    ports    = [tostring(each.value.port)]
  }
}

resource "google_compute_disk" "kafka" {
  for_each = local.brokers
  name     = "${local.name}-${each.key}"
  zone     = each.value.zone
  type     = "pd-balanced"
  size     = 50
  lifecycle {
    prevent_destroy = true
  }
}

resource "google_compute_resource_policy" "kafka" {
  count  = min(1, var.kafka_brokers)
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
  for_each = google_compute_disk.kafka
  name     = google_compute_resource_policy.kafka[0].name
  disk     = each.value.name
  zone     = each.value.zone
}

resource "google_compute_instance" "kafka" {
  for_each     = local.machines
  name         = "${local.name}-${each.key}"
  zone         = each.value.zone
  machine_type = var.kafka_brokers == 3 && each.value.id > 0 ? "e2-standard-2" : "e2-medium"
  boot_disk {
    initialize_params {
      image = "cos-cloud/cos-121-lts"
      size  = 10
    }
  }
  dynamic "attached_disk" {
    for_each = each.value.id > 0 ? [google_compute_disk.kafka[each.key].id] : []
    content {
      source      = attached_disk.value
      device_name = "kafka"
    }
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
    email  = google_service_account.part[each.value.id > 0 ? "kafka" : "registry"].email
    scopes = ["logging-write"]
  }
  metadata = {
    user-data              = templatefile("${path.module}/${each.value.id > 0 ? "kafka" : "registry"}.yaml", merge(local.kafka_settings, { id = each.value.id, zone = each.value.zone, host = lookup(local.hosts, each.value.id, "") }))
    block-project-ssh-keys = "true"
  }
}

resource "google_project_iam_member" "kafka" {
  for_each = toset(["kafka", "registry"])
  project  = var.project
  role     = "roles/logging.logWriter"
  member   = google_service_account.part[each.key].member
}

# The machines fetch their images from Docker Hub, and have no address of their own.
resource "google_compute_router" "out" {
  count   = min(1, var.kafka_brokers)
  name    = local.name
  network = google_compute_network.net.id
  region  = var.region
}

resource "google_compute_router_nat" "out" {
  count                              = min(1, var.kafka_brokers)
  name                               = local.name
  router                             = google_compute_router.out[0].name
  region                             = var.region
  nat_ip_allocate_option             = "AUTO_ONLY"
  source_subnetwork_ip_ranges_to_nat = "ALL_SUBNETWORKS_ALL_IP_RANGES"
}
