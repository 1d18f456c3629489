# The savings app in production: terraform -chdir=deploy/terraform/gcp/production apply -var-file=$PWD/examples/savings-app/terraform/production.tfvars
region         = "europe-west1"
schemas        = "savings"
notice         = "daily_figures"
amplitude_from = "2026-03-01"
zone           = "Africa/Johannesburg"
sns_topic      = "arn:aws:sns:eu-west-1:222222222222:savings-production"
smtp_host      = "smtp.production.savings.example"
operators      = "operators@production.savings.example"
