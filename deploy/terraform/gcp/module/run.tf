# What runs: the service, and jobs that Cloud Scheduler starts. Each has a service account for itself alone.

locals {
  # /opt/entrypoint.sh is shroff with the image's compiled kernels: for what computes features. Times are UTC, except those of the mails. tests/deploy compares commands with the program, and times with its settings.
  jobs = {
    amplitude = { # yesterday's export, three hours after the end of the day
      schedule = "0 3 * * *"
      command  = "shroff sources sync app"
      secrets  = ["database-password", "amplitude-api-key", "amplitude-secret-key"]
      buckets  = ["lake"]
      size     = var.service_size
    }
    warehouse = { # new commits of the lake, then the lake into BigQuery; a commit is loaded once
      schedule = "0 4 * * *"
      command  = "/opt/entrypoint.sh lake write && BIGQUERY_TOKEN=$(python3 -c \"${local.token}\") shroff export warehouse --out /tmp/warehouse --load ${var.project}.${google_bigquery_dataset.fraud.dataset_id}"
      secrets  = ["database-password"]
      buckets  = ["lake"]
      size     = var.training_size
    }
    mails = { # the service sends them too; a report is sent once
      schedule = "0 5 * * *"
      command  = "shroff jobs run report notice=${var.notice} --wait"
      secrets  = ["database-password", "smtp-password"]
      buckets  = []
      size     = var.service_size
    }
    training-set = { # the newest 12 are kept
      schedule = "30 */2 * * *"
      command  = "mkdir -p training-sets && /opt/entrypoint.sh training-set --out training-sets/$(date -u +%Y%m%dT%H%M%S) && ls -d training-sets/* | head -n -12 | xargs -r rm -r"
      secrets  = ["database-password"]
      buckets  = []
      reads    = ["lake"] # where `keep` moved old events
      size     = var.training_size
    }
    training = {
      schedule = "0 1 1 * *"
      command  = "/opt/entrypoint.sh train --promote --by schedule"
      secrets  = ["database-password"]
      buckets  = []
      reads    = ["lake"] # as training-set
      retries  = 0        # a model that is not promoted is an answer, which another try would not change
      size     = var.training_size
    }
    owner = { # started by hand once: the folder belongs to root at first
      schedule = null
      image    = "docker.io/library/busybox:1.37.0"
      command  = "chown 10001:10001 ."
      secrets  = []
      buckets  = []
      size     = { cpu = "1", memory = "512Mi" }
    }
    files = { # started by hand after a release of the project's files
      schedule = null
      command  = "/opt/project.sh /project '' && shroff check"
      secrets  = []
      buckets  = []
      size     = var.service_size
    }
  }
  # The access token of the job's service account, from the metadata server: BigQuery's own library is not in the image.
  token   = "import json,urllib.request as u; print(json.load(u.urlopen(u.Request('http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token', headers={'Metadata-Flavor':'Google'})))['access_token'])"
  service = { secrets = ["database-password", "smtp-password"], buckets = ["lake", "snapshots"] }
  # Who may read which secret, and write or read which bucket, one row each.
  parts = merge(local.jobs, { service = local.service })
  may_read = merge([for part, one in local.parts : {
    for secret in one.secrets : "${part}/${secret}" => { part = part, secret = secret }
  }]...)
  may_write = merge([for part, one in local.parts : {
    for bucket in one.buckets : "${part}/${bucket}" => { part = part, bucket = bucket }
  }]...)
  may_look = merge([for part, one in local.parts : {
    for bucket in try(one.reads, []) : "${part}/${bucket}" => { part = part, bucket = bucket }
  }]...)
}

resource "google_cloud_run_v2_service" "service" {
  name                 = local.name
  location             = var.region
  ingress              = "INGRESS_TRAFFIC_ALL"
  invoker_iam_disabled = true # shroff asks every caller for its own API key or session
  deletion_protection  = true
  scaling {
    scaling_mode          = "MANUAL"
    manual_instance_count = var.service_instances
  }
  template {
    service_account                  = google_service_account.part["service"].email
    execution_environment            = "EXECUTION_ENVIRONMENT_GEN2"
    timeout                          = "60s"
    max_instance_request_concurrency = 1000
    vpc_access {
      egress = "PRIVATE_RANGES_ONLY"
      network_interfaces {
        network    = google_compute_network.net.id
        subnetwork = google_compute_subnetwork.net.id
      }
    }
    containers {
      image       = var.image
      args        = ["serve", "--host", "0.0.0.0", "--port", tostring(local.port), "--standby", "--watch"]
      working_dir = local.folder
      ports {
        container_port = local.port
      }
      resources {
        limits            = var.service_size
        cpu_idle          = false # it reads Pub/Sub, sends mails and saves state between requests
        startup_cpu_boost = true
      }
      startup_probe {
        period_seconds    = 5
        failure_threshold = 60
        http_get {
          path = "/health/live"
          port = local.port
        }
      }
      liveness_probe {
        period_seconds    = 10
        timeout_seconds   = 5
        failure_threshold = 3
        http_get {
          path = "/health/live"
          port = local.port
        }
      }
      dynamic "env" {
        for_each = local.settings
        content {
          name  = env.key
          value = env.value
        }
      }
      dynamic "env" {
        for_each = { for name, secret in local.secrets : name => secret if contains(local.service.secrets, secret) }
        content {
          name = env.key
          value_source {
            secret_key_ref {
              secret  = google_secret_manager_secret.secret[env.value].secret_id
              version = "latest"
            }
          }
        }
      }
      volume_mounts {
        name       = "project"
        mount_path = local.folder
      }
    }
    volumes {
      name = "project"
      nfs {
        server = google_filestore_instance.project.networks[0].ip_addresses[0]
        path   = "/${google_filestore_instance.project.file_shares[0].name}"
      }
    }
  }
  depends_on = [google_sql_user.log, google_secret_manager_secret_iam_member.read]
}

resource "google_cloud_run_v2_job" "job" {
  for_each            = local.jobs
  name                = "${local.name}-${each.key}"
  location            = var.region
  deletion_protection = false
  template {
    template {
      service_account       = google_service_account.part[each.key].email
      execution_environment = "EXECUTION_ENVIRONMENT_GEN2"
      timeout               = "21600s"
      max_retries           = try(each.value.retries, 1)
      vpc_access {
        egress = "PRIVATE_RANGES_ONLY"
        network_interfaces {
          network    = google_compute_network.net.id
          subnetwork = google_compute_subnetwork.net.id
        }
      }
      containers {
        image       = try(each.value.image, var.image)
        command     = ["/bin/sh", "-euc"]
        args        = [each.value.command]
        working_dir = local.folder
        resources {
          limits = each.value.size
        }
        dynamic "env" {
          for_each = local.settings
          content {
            name  = env.key
            value = env.value
          }
        }
        dynamic "env" {
          for_each = { for name, secret in local.secrets : name => secret if contains(each.value.secrets, secret) }
          content {
            name = env.key
            value_source {
              secret_key_ref {
                secret  = google_secret_manager_secret.secret[env.value].secret_id
                version = "latest"
              }
            }
          }
        }
        volume_mounts {
          name       = "project"
          mount_path = local.folder
        }
      }
      volumes {
        name = "project"
        nfs {
          server = google_filestore_instance.project.networks[0].ip_addresses[0]
          path   = "/${google_filestore_instance.project.file_shares[0].name}"
        }
      }
    }
  }
  depends_on = [google_sql_user.log, google_secret_manager_secret_iam_member.read]
}

resource "google_cloud_scheduler_job" "job" {
  for_each         = { for name, job in local.jobs : name => job if job.schedule != null }
  name             = "${local.name}-${each.key}"
  region           = var.region
  schedule         = each.value.schedule
  time_zone        = each.key == "mails" ? var.zone : "Etc/UTC"
  attempt_deadline = "60s"
  retry_config {
    retry_count = 3
  }
  http_target {
    http_method = "POST"
    uri         = "https://run.googleapis.com/v2/${google_cloud_run_v2_job.job[each.key].id}:run"
    oauth_token {
      service_account_email = google_service_account.part["scheduler"].email
    }
  }
  depends_on = [google_project_service.api]
}

# --- rights: an account for each part, with the roles that its work needs

resource "google_service_account" "part" {
  for_each     = toset(concat(keys(local.parts), ["scheduler", "kafka", "registry"]))
  account_id   = "${local.name}-${each.key}"
  display_name = "shroff ${var.environment}: ${each.key}"
}

resource "google_secret_manager_secret_iam_member" "read" {
  for_each  = local.may_read
  secret_id = google_secret_manager_secret.secret[each.value.secret].id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.part[each.value.part].member
}

resource "google_storage_bucket_iam_member" "write" {
  for_each = local.may_write
  bucket   = google_storage_bucket.bucket[each.value.bucket].name
  role     = "roles/storage.objectUser"
  member   = google_service_account.part[each.value.part].member
}

resource "google_storage_bucket_iam_member" "read" {
  for_each = local.may_look
  bucket   = google_storage_bucket.bucket[each.value.bucket].name
  role     = "roles/storage.objectViewer"
  member   = google_service_account.part[each.value.part].member
}

resource "google_pubsub_subscription_iam_member" "service" {
  for_each     = toset(["roles/pubsub.subscriber", "roles/pubsub.viewer"])
  subscription = google_pubsub_subscription.payments.name
  role         = each.key
  member       = google_service_account.part["service"].member
}

resource "google_pubsub_topic_iam_member" "service" {
  for_each = toset(["refused", "decisions"])
  topic    = google_pubsub_topic.topic[each.key].name
  role     = "roles/pubsub.publisher"
  member   = google_service_account.part["service"].member
}

resource "google_bigquery_dataset_iam_member" "warehouse" {
  dataset_id = google_bigquery_dataset.fraud.dataset_id
  role       = "roles/bigquery.dataEditor"
  member     = google_service_account.part["warehouse"].member
}

resource "google_project_iam_member" "warehouse" {
  project = var.project
  role    = "roles/bigquery.jobUser" # a load job belongs to the project
  member  = google_service_account.part["warehouse"].member
}

resource "google_cloud_run_v2_job_iam_member" "scheduler" {
  for_each = google_cloud_scheduler_job.job
  name     = google_cloud_run_v2_job.job[each.key].name
  location = var.region
  role     = "roles/run.invoker"
  member   = google_service_account.part["scheduler"].member
}
