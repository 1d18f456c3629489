-- Every event of a user.
--
-- user_id: Who did it.
-- event_type: What it was.
-- time_transaction_occurred: When it happened, in milliseconds since 1970.
-- source_of_event: Where it came from.
-- created_at: The same time: the lake has no other.
-- updated_at: The same time: an event never changes.
-- context: The fields of the event as JSON.
WITH every AS (
  SELECT lane, seq, "user", 'SAVING' AS event_type, epoch_ms(time) AS at_ms, body FROM saving
  UNION ALL
  SELECT lane, seq, "user", 'WITHDRAWAL' AS event_type, epoch_ms(time) AS at_ms, body FROM withdrawal
)
SELECT
  "user" AS user_id,
  event_type,
  at_ms AS time_transaction_occurred,
  'app' AS source_of_event,
  at_ms AS created_at,
  at_ms AS updated_at,
  body AS context
FROM every
ORDER BY lane, seq
