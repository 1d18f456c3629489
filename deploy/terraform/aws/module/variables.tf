variable "environment" {
  type        = string
  description = "staging or production; part of every name."
  validation {
    condition     = contains(["staging", "production"], var.environment)
    error_message = "environment is staging or production."
  }
}

variable "image" {
  type        = string
  description = "The image with the project's files (deploy/image/project.Dockerfile), by tag or digest."
  validation {
    condition     = !endswith(var.image, ":latest") && can(regex("[:@]", var.image))
    error_message = "Name a release: REPOSITORY/NAME:TAG or REPOSITORY/NAME@sha256:..., not latest."
  }
}

variable "domain" {
  type        = string
  description = "The host name of the service, such as fraud.bank.example; point it to the load balancer."
}

variable "certificate" {
  type        = string
  description = "ARN of the certificate for the domain, in AWS Certificate Manager."
}

variable "service_count" {
  type        = number
  default     = 1
  description = "1, or 0 to stop the service. A log has one writer: a second one would reject events."
  validation {
    condition     = contains([0, 1], var.service_count)
    error_message = "service_count is 0 or 1."
  }
}

variable "is_subscribed" {
  type        = bool
  default     = true
  description = "Whether SNS posts payments to the service; false until the host name leads to it."
}

variable "service_size" {
  type        = object({ cpu = number, memory = number })
  description = "CPU units (1024 are one processor) and MiB of the service."
}

variable "training_size" {
  type        = object({ cpu = number, memory = number })
  description = "CPU units and MiB of training and of the workers of jobs."
}

variable "labels_inside" {
  type        = bool
  default     = false
  description = "Whether files of events have their labels in a column, which `label:` in events.yaml reads; false where labels come in files of their own."
}

variable "trigger_concurrency" {
  type        = number
  default     = -1
  description = "How many calls of the function that starts training are reserved and allowed at once; -1 for no reservation, since a small account has none to spare."
}

variable "database_class" {
  type        = string
  description = "Class of the database, such as db.t4g.medium."
}

variable "database_standby" {
  type        = bool
  description = "Whether the database has a standby in another zone."
}

variable "database_password_version" {
  type        = number
  default     = 1
  description = "Raise it to set a new password in the database and in Secrets Manager; then restart the service."
}

variable "smtp_host" {
  type        = string
  description = "The mail server, such as smtp.bank.example; port 587 with STARTTLS, user shroff."
}

variable "operators" {
  type        = string
  description = "Mail address that alarms are sent to."
}

variable "tables" {
  type        = string
  description = "Folder with the columns of the lake's tables, a file each, for the Glue catalog."
}
