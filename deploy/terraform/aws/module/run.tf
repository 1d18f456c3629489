# What runs on Fargate: the service, workers of jobs, a training task for each new object, and a task that copies files.

locals {
  # tests/deploy compares commands with the program. Each part has a role for itself alone (roles.tf).
  parts = {
    service = {
      command = ["serve", "--host", "0.0.0.0", "--port", tostring(local.port), "--standby", "--watch"]
      secrets = ["SHROFF_DB_PASSWORD", "SMTP_PASSWORD"]
      size    = var.service_size
    }
    workers = {
      command = ["jobs", "work"]
      secrets = ["SHROFF_DB_PASSWORD", "SMTP_PASSWORD"]
      size    = var.training_size
    }
    train = { # started by the function in trigger.tf
      shell   = file("${path.module}/train.sh")
      secrets = ["SHROFF_DB_PASSWORD"]
      size    = var.training_size
    }
    files = { # started by hand after a release of the project's files
      shell   = "/opt/project.sh /project '' && shroff check"
      secrets = ["SHROFF_DB_PASSWORD"]
      size    = var.service_size
    }
  }
  of_training = {
    RAW_BUCKET    = aws_s3_bucket.bucket["raw"].bucket
    MODELS_BUCKET = aws_s3_bucket.bucket["models"].bucket
    LABELS_INSIDE = tostring(var.labels_inside)
  }
}

resource "aws_ecs_cluster" "cluster" {
  name = local.name
  setting {
    name  = "containerInsights"
    value = "enabled"
  }
}

resource "aws_ecs_task_definition" "part" {
  for_each                 = local.parts
  family                   = "${local.name}-${each.key}"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = each.value.size.cpu
  memory                   = each.value.size.memory
  execution_role_arn       = aws_iam_role.start[each.key].arn
  task_role_arn            = aws_iam_role.part[each.key].arn
  container_definitions = jsonencode([{
    name                   = "shroff"
    image                  = var.image
    essential              = true
    user                   = "${local.user}:${local.user}"
    workingDirectory       = local.folder
    readonlyRootFilesystem = true
    stopTimeout            = 60
    linuxParameters        = { capabilities = { drop = ["ALL"] }, initProcessEnabled = true }
    entryPoint             = can(each.value.shell) ? ["/bin/sh", "-euc"] : null
    command                = try([each.value.shell], each.value.command)
    portMappings           = each.key == "service" ? [{ containerPort = local.port, protocol = "tcp" }] : []
    healthCheck = each.key == "service" ? {
      command     = ["CMD", "python", "/opt/health.py", "live"]
      interval    = 10
      timeout     = 5
      retries     = 3
      startPeriod = 90
    } : null
    environment = [for name, value in merge(local.settings, local.of_training, { AWS_REGION = local.region, TMPDIR = "/data" }) : { name = name, value = value }]
    secrets     = [for name in each.value.secrets : { name = name, valueFrom = aws_secretsmanager_secret.secret[local.secrets[name]].arn }]
    mountPoints = [
      { sourceVolume = "data", containerPath = "/data" },
      { sourceVolume = "project", containerPath = local.folder },
    ]
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.log[each.key].name
        awslogs-region        = local.region
        awslogs-stream-prefix = "shroff"
      }
    }
  }])
  volume { # of the task alone: caches and temporary files; it gets its owner from the image's VOLUME
    name = "data"
  }
  volume {
    name = "project"
    efs_volume_configuration {
      file_system_id     = aws_efs_file_system.project.id
      transit_encryption = "ENABLED"
      authorization_config {
        access_point_id = aws_efs_access_point.project.id
        iam             = "ENABLED"
      }
    }
  }
}

# --- the service: one task, since a log has one writer. A new one starts when the old one has ended.

resource "aws_ecs_service" "service" {
  name                               = "service"
  cluster                            = aws_ecs_cluster.cluster.id
  task_definition                    = aws_ecs_task_definition.part["service"].arn
  launch_type                        = "FARGATE"
  desired_count                      = var.service_count
  deployment_minimum_healthy_percent = 0
  deployment_maximum_percent         = 100
  health_check_grace_period_seconds  = 1800 # a start reads the log from the newest snapshot on
  propagate_tags                     = "SERVICE"
  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }
  network_configuration {
    subnets          = aws_subnet.private[*].id
    security_groups  = [aws_security_group.group["tasks"].id]
    assign_public_ip = false
  }
  load_balancer {
    target_group_arn = aws_lb_target_group.service.arn
    container_name   = "shroff"
    container_port   = local.port
  }
  depends_on = [aws_lb_listener.tls]
}

# --- workers of jobs: these may be several

resource "aws_ecs_service" "workers" {
  name            = "workers"
  cluster         = aws_ecs_cluster.cluster.id
  task_definition = aws_ecs_task_definition.part["workers"].arn
  launch_type     = "FARGATE"
  desired_count   = var.service_count
  propagate_tags  = "SERVICE"
  network_configuration {
    subnets          = aws_subnet.private[*].id
    security_groups  = [aws_security_group.group["tasks"].id]
    assign_public_ip = false
  }
  lifecycle {
    ignore_changes = [desired_count] # the autoscaling below sets it
  }
}

resource "aws_appautoscaling_target" "workers" {
  service_namespace  = "ecs"
  resource_id        = "service/${aws_ecs_cluster.cluster.name}/${aws_ecs_service.workers.name}"
  scalable_dimension = "ecs:service:DesiredCount"
  min_capacity       = var.service_count
  max_capacity       = 2 * var.service_count # a project runs two jobs at once
}

resource "aws_appautoscaling_policy" "workers" {
  name               = "${local.name}-workers"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.workers.service_namespace
  resource_id        = aws_appautoscaling_target.workers.resource_id
  scalable_dimension = aws_appautoscaling_target.workers.scalable_dimension
  target_tracking_scaling_policy_configuration {
    target_value       = 60
    scale_in_cooldown  = 900
    scale_out_cooldown = 60
    predefined_metric_specification {
      predefined_metric_type = "ECSServiceAverageCPUUtilization"
    }
  }
}
