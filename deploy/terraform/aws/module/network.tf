# A network of its own: the load balancer in public subnets, everything else in private ones.

resource "aws_vpc" "net" {
  cidr_block           = "10.30.0.0/16"
  enable_dns_hostnames = true
  tags                 = { Name = local.name }
}

resource "aws_default_security_group" "closed" {
  vpc_id = aws_vpc.net.id # without rules
}

resource "aws_subnet" "public" {
  count             = 2
  vpc_id            = aws_vpc.net.id
  availability_zone = local.zones[count.index]
  cidr_block        = cidrsubnet(aws_vpc.net.cidr_block, 8, count.index)
}

resource "aws_subnet" "private" {
  count             = 2
  vpc_id            = aws_vpc.net.id
  availability_zone = local.zones[count.index]
  cidr_block        = cidrsubnet(aws_vpc.net.cidr_block, 8, 10 + count.index)
}

resource "aws_internet_gateway" "out" {
  vpc_id = aws_vpc.net.id
}

resource "aws_eip" "out" {
  domain = "vpc"
}

resource "aws_nat_gateway" "out" {
  allocation_id = aws_eip.out.id
  subnet_id     = aws_subnet.public[0].id
  depends_on    = [aws_internet_gateway.out]
}

resource "aws_route_table" "public" {
  vpc_id = aws_vpc.net.id
  route {
    cidr_block = "0.0.0.0/0"
    gateway_id = aws_internet_gateway.out.id
  }
}

resource "aws_route_table" "private" {
  vpc_id = aws_vpc.net.id
  route {
    cidr_block     = "0.0.0.0/0"
    nat_gateway_id = aws_nat_gateway.out.id
  }
}

resource "aws_route_table_association" "public" {
  count          = 2
  subnet_id      = aws_subnet.public[count.index].id
  route_table_id = aws_route_table.public.id
}

resource "aws_route_table_association" "private" {
  count          = 2
  subnet_id      = aws_subnet.private[count.index].id
  route_table_id = aws_route_table.private.id
}

resource "aws_vpc_endpoint" "s3" { # buckets without the NAT gateway and its price
  vpc_id          = aws_vpc.net.id
  service_name    = "com.amazonaws.${local.region}.s3"
  route_table_ids = [aws_route_table.private.id]
}

resource "aws_flow_log" "net" {
  vpc_id          = aws_vpc.net.id
  traffic_type    = "REJECT"
  iam_role_arn    = aws_iam_role.part["flow-log"].arn
  log_destination = aws_cloudwatch_log_group.log["network"].arn
}

# --- who may talk to whom

locals {
  groups = ["balancer", "tasks", "database", "folder"]
  # to, from, port: nothing else comes in. Only the load balancer is open to others, by TLS and for the redirect to it.
  ways = {
    tls      = { to = "balancer", from = null, port = 443 }
    redirect = { to = "balancer", from = null, port = 80 }
    service  = { to = "tasks", from = "balancer", port = local.port }
    log      = { to = "database", from = "tasks", port = 5432 }
    nfs      = { to = "folder", from = "tasks", port = 2049 }
  }
}

resource "aws_security_group" "group" {
  for_each    = toset(local.groups)
  name        = "${local.name}-${each.key}"
  description = "shroff ${var.environment}: ${each.key}"
  vpc_id      = aws_vpc.net.id
}

resource "aws_vpc_security_group_ingress_rule" "way" {
  for_each                     = local.ways
  description                  = each.key
  security_group_id            = aws_security_group.group[each.value.to].id
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
  cidr_ipv4                    = each.value.from == null ? "0.0.0.0/0" : null
  referenced_security_group_id = each.value.from == null ? null : aws_security_group.group[each.value.from].id
}

resource "aws_vpc_security_group_egress_rule" "balancer" {
  description                  = "to the service alone"
  security_group_id            = aws_security_group.group["balancer"].id
  ip_protocol                  = "tcp"
  from_port                    = local.port
  to_port                      = local.port
  referenced_security_group_id = aws_security_group.group["tasks"].id
}

resource "aws_vpc_security_group_egress_rule" "tasks" {
  description       = "mail server, identity provider, certificates of SNS, images"
  security_group_id = aws_security_group.group["tasks"].id
  ip_protocol       = "-1"
  cidr_ipv4         = "0.0.0.0/0"
}

# --- the load balancer: TLS ends here

resource "aws_lb" "balancer" {
  name                       = local.name
  load_balancer_type         = "application"
  subnets                    = aws_subnet.public[*].id
  security_groups            = [aws_security_group.group["balancer"].id]
  drop_invalid_header_fields = true
  enable_deletion_protection = true
  access_logs {
    bucket  = aws_s3_bucket.logs.bucket
    prefix  = "balancer"
    enabled = true
  }
  depends_on = [aws_s3_bucket_policy.logs]
}

resource "aws_lb_target_group" "service" {
  name                 = local.name
  vpc_id               = aws_vpc.net.id
  target_type          = "ip"
  protocol             = "HTTP"
  port                 = local.port
  deregistration_delay = 10
  health_check {
    path                = "/health/ready"
    interval            = 10
    timeout             = 5
    healthy_threshold   = 2
    unhealthy_threshold = 3
  }
}

resource "aws_lb_listener" "tls" {
  load_balancer_arn = aws_lb.balancer.arn
  protocol          = "HTTPS"
  port              = local.ways.tls.port
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = var.certificate
  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.service.arn
  }
}

resource "aws_lb_listener_rule" "metrics" { # read inside the network; the load balancer does not show them
  listener_arn = aws_lb_listener.tls.arn
  priority     = 10
  condition {
    path_pattern {
      values = ["/metrics"]
    }
  }
  action {
    type = "fixed-response"
    fixed_response {
      content_type = "text/plain"
      status_code  = "404"
    }
  }
}

resource "aws_lb_listener" "redirect" {
  load_balancer_arn = aws_lb.balancer.arn
  protocol          = "HTTP"
  port              = local.ways.redirect.port
  default_action {
    type = "redirect"
    redirect {
      protocol    = "HTTPS"
      port        = tostring(local.ways.tls.port)
      status_code = "HTTP_301"
    }
  }
}
