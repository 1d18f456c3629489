output "images" {
  value       = aws_ecr_repository.images.repository_url
  description = "The repository to push images to."
}

output "balancer" {
  value       = aws_lb.balancer.dns_name
  description = "Where the host name of the service must point."
}

output "incoming" {
  value       = "s3://${aws_s3_bucket.bucket["raw"].bucket}/${local.incoming}"
  description = "Where objects go that train a model."
}

output "payments" {
  value       = aws_sns_topic.topic["payments"].arn
  description = "The topic to publish payments to."
}

output "network" {
  value = {
    cluster = aws_ecs_cluster.cluster.name
    awsvpc  = "awsvpcConfiguration={subnets=[${join(",", aws_subnet.private[*].id)}],securityGroups=[${aws_security_group.group["tasks"].id}]}"
  }
  description = "For `aws ecs run-task`."
}
