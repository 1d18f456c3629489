# The savings app in staging: terraform -chdir=deploy/terraform/gcp/staging apply -var-file=$PWD/examples/savings-app/terraform/staging.tfvars
region         = "us-central1"
schemas        = "savings"
notice         = "daily_figures"
amplitude_from = "2026-03-01"
zone           = "Africa/Johannesburg"
