output "url" {
  value       = google_cloud_run_v2_service.service.uri
  description = "Where the service answers, with TLS."
}

output "images" {
  value       = "${var.region}-docker.pkg.dev/${var.project}/${google_artifact_registry_repository.images.repository_id}"
  description = "The repository to push images to."
}

output "payments" {
  value       = google_pubsub_topic.topic["payments"].id
  description = "The topic to publish payments to."
}

output "kafka" {
  value       = local.kafka_settings.servers
  description = "Addresses of the brokers, for `brokers` of a source."
}

output "registry" {
  value       = var.kafka_brokers == 0 ? "" : "http://${local.name}-registry.${local.zones[0]}.c.${var.project}.internal:${local.kafka_ways.registry.port}/apis/ccompat/v7"
  description = "Address of the schema registry, for `registry` of a source."
}

output "kafka_ui" {
  value       = var.kafka_brokers == 0 ? "" : "gcloud compute start-iap-tunnel ${local.name}-registry ${local.kafka_ways.ui.port} --local-host-port=localhost:${local.kafka_ways.ui.port} --zone=${local.zones[0]} --project=${var.project}"
  description = "The command after which http://localhost:9080 shows the UI of Kafka and the registry."
}
