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
  value       = one([for machine in google_compute_instance.kafka : "${machine.name}:${local.kafka_port}"])
  description = "Address of the small Kafka, where there is one."
}
