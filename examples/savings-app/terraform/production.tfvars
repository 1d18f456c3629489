# The savings app in production: terraform -chdir=deploy/terraform/gcp/production apply -var-file=$PWD/examples/savings-app/terraform/production.tfvars
region         = "europe-west1"
schemas        = "savings"
notice         = "daily_figures"
amplitude_from = "2026-03-01"
zone           = "Africa/Johannesburg"
