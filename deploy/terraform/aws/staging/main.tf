# Staging: an account of its own, with its own state. Names in capital letters are yours.
terraform {
  backend "s3" {
    bucket       = "TERRAFORM-STATE-STAGING" # with versioning; only those who deploy may read it
    key          = "shroff/staging.tfstate"
    region       = "eu-central-1"
    encrypt      = true
    use_lockfile = true
  }
}

provider "aws" {
  region = var.region
  default_tags {
    tags = { project = "shroff", environment = "staging" }
  }
}

variable "region" {
  type    = string
  default = "eu-central-1"
}

variable "image" {
  type        = string
  description = "The image with the project's files, by tag or digest."
}

variable "service_count" {
  type    = number
  default = 1
}

variable "is_subscribed" {
  type    = bool
  default = true
}

variable "domain" {
  type = string
}

variable "certificate" {
  type = string
}

module "shroff" {
  source           = "../module"
  environment      = "staging"
  image            = var.image
  service_count    = var.service_count
  is_subscribed    = var.is_subscribed
  domain           = var.domain
  certificate      = var.certificate
  service_size     = { cpu = 512, memory = 2048 }
  training_size    = { cpu = 2048, memory = 8192 }
  database_class   = "db.t4g.medium"
  database_standby = false
  smtp_host        = "smtp.bank.example"
  operators        = "operators@bank.example"
  tables           = "${path.root}/../tables/payments"
}

output "images" {
  value = module.shroff.images
}

output "balancer" {
  value = module.shroff.balancer
}

output "incoming" {
  value = module.shroff.incoming
}

output "payments" {
  value = module.shroff.payments
}

output "network" {
  value = module.shroff.network
}
