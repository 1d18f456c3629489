# Staging: a project of Google Cloud of its own, with its own state. Names in capital letters are yours.
terraform {
  backend "gcs" {
    bucket = "TERRAFORM-STATE-STAGING" # with versioning; only those who deploy may read it
    prefix = "shroff/staging"
  }
}

provider "google" {
  project               = var.project
  region                = var.region
  billing_project       = var.project
  user_project_override = true
}

variable "project" {
  type        = string
  description = "The project of staging."
}

variable "region" {
  type    = string
  default = "us-central1" # production is in Europe
}

variable "image" {
  type        = string
  description = "The image with the project's files, by tag or digest."
}

variable "service_instances" {
  type    = number
  default = 1
}

variable "billing_account" {
  type = string
}

variable "schemas" {
  type        = string
  default     = "payments"
  description = "Whose tables BigQuery has: a folder of ../schemas."
}

variable "notice" {
  type    = string
  default = "report"
}

variable "amplitude_from" {
  type    = string
  default = "2026-01-01"
}

variable "sns_topic" {
  type        = string
  default     = ""
  description = "The SNS topic that this environment is subscribed to, as arn:aws:sns:REGION:ACCOUNT:NAME."
}

variable "smtp_host" {
  type    = string
  default = "smtp.bank.example"
}

variable "operators" {
  type        = string
  default     = "operators@bank.example"
  description = "Mail address that alerts and budgets are sent to."
}

variable "zone" {
  type    = string
  default = "Europe/Berlin"
}

variable "kafka_brokers" {
  type    = number
  default = 0
}

module "shroff" {
  source            = "../module"
  project           = var.project
  environment       = "staging"
  region            = var.region
  image             = var.image
  service_instances = var.service_instances
  service_size      = { cpu = "1", memory = "2Gi" }
  training_size     = { cpu = "2", memory = "8Gi" }
  database_tier     = "db-custom-1-3840"
  database_standby  = false
  kafka_brokers     = var.kafka_brokers
  smtp_host         = var.smtp_host
  amplitude_from    = var.amplitude_from
  sns_topic         = var.sns_topic
  notice            = var.notice
  zone              = var.zone
  schemas           = "${path.root}/../schemas/${var.schemas}"
  operators         = var.operators
  billing_account   = var.billing_account
  budget            = { currency = "EUR", units = "400" }
}

output "url" {
  value = module.shroff.url
}

output "images" {
  value = module.shroff.images
}

output "payments" {
  value = module.shroff.payments
}

output "kafka" {
  value = module.shroff.kafka
}

output "registry" {
  value = module.shroff.registry
}

output "kafka_ui" {
  value = module.shroff.kafka_ui
}
