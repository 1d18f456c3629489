-- Every event of a user: savings, withdrawals, and all other events of the app.
--
-- user_id: Who did it.
-- event_type: What the app calls it, such as SAVING_PAYMENT_SUCCESSFUL.
-- time_transaction_occurred: When it happened, in milliseconds since 1970.
-- source_of_event: INTERNAL_SERVICES (SNS) or AMPLITUDE.
-- created_at: The same time: the lake has no other.
-- updated_at: The same time: an event never changes.
-- context: The context that the app sent, as JSON; null where it sent none.
WITH every AS (
  SELECT seq, "user", coalesce(name, 'SAVING_EVENT') AS event_type, epoch_ms(time) AS at_ms, 'INTERNAL_SERVICES' AS source, context
  FROM saving
  UNION ALL
  SELECT seq, "user", coalesce(name, 'WITHDRAWAL') AS event_type, epoch_ms(time) AS at_ms, 'INTERNAL_SERVICES' AS source, context
  FROM withdrawal
  UNION ALL
  SELECT seq, "user", name AS event_type, epoch_ms(time) AS at_ms, source, context FROM app_event
)
SELECT
  "user" AS user_id,
  event_type,
  at_ms AS time_transaction_occurred,
  source AS source_of_event,
  at_ms AS created_at,
  at_ms AS updated_at,
  context
FROM every
ORDER BY seq
