variable "project" {
  type        = string
  description = "The project of Google Cloud."
}

variable "environment" {
  type        = string
  description = "staging or production; part of every name."
  validation {
    condition     = contains(["staging", "production"], var.environment)
    error_message = "environment is staging or production."
  }
}

variable "region" {
  type        = string
  description = "Where everything runs, such as europe-west1."
}

variable "image" {
  type        = string
  description = "The image with the project's files (deploy/image/project.Dockerfile), by tag or digest."
  validation {
    condition     = !endswith(var.image, ":latest") && can(regex("[:@]", var.image))
    error_message = "Name a release: REPOSITORY/NAME:TAG or REPOSITORY/NAME@sha256:..., not latest."
  }
}

variable "service_instances" {
  type        = number
  default     = 1
  description = "1, or 0 to stop the service. A log has one writer: more instances would reject events."
  validation {
    condition     = contains([0, 1], var.service_instances)
    error_message = "service_instances is 0 or 1."
  }
}

variable "service_size" {
  type        = object({ cpu = string, memory = string })
  description = "Processors and memory of the service."
}

variable "training_size" {
  type        = object({ cpu = string, memory = string })
  description = "Processors and memory of training and training sets."
}

variable "database_tier" {
  type        = string
  description = "Machine type of Cloud SQL, such as db-custom-2-7680."
}

variable "database_standby" {
  type        = bool
  description = "Whether Cloud SQL has a standby in another zone."
}

variable "database_password_version" {
  type        = number
  default     = 1
  description = "Raise it to set a new password in the database and in Secret Manager; then restart the service."
}

variable "smtp_host" {
  type        = string
  description = "The mail server, such as smtp.bank.example; port 587 with STARTTLS, user shroff."
}

variable "sns_topic" {
  type        = string
  default     = ""
  description = "The SNS topic that the service is subscribed to, as arn:aws:sns:REGION:ACCOUNT:NAME; empty without SNS."
}

variable "amplitude_from" {
  type        = string
  description = "The first day to take from Amplitude, such as 2026-03-01."
}

variable "zone" {
  type        = string
  description = "Time zone of the mails, such as Europe/Berlin."
}

variable "notice" {
  type        = string
  default     = "report"
  description = "The notice with `on: report` that is sent each morning."
}

variable "schemas" {
  type        = string
  description = "Folder with the schemas that `shroff export warehouse` writes: a table of BigQuery each."
}

variable "operators" {
  type        = string
  description = "Mail address that alerts and budgets are sent to."
}

variable "billing_account" {
  type        = string
  description = "The billing account, as 000000-000000-000000."
}

variable "budget" {
  type        = object({ currency = string, units = string })
  description = "Expected cost of a month in the currency of the billing account; mails at 50, 90 and 100 %."
}

variable "kafka_brokers" {
  type        = number
  default     = 0
  description = "Brokers of a Kafka beside Pub/Sub, with a schema registry and a UI: 0, 1 for tests, or 3."
  validation {
    condition     = contains([0, 1, 3], var.kafka_brokers)
    error_message = "kafka_brokers is 0, 1 or 3."
  }
}
