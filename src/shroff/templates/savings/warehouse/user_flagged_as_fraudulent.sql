-- Users whom a rule flagged.
--
-- user_id: The user.
-- account_id: The account of the event; empty where the app named none.
-- rule_label: The rule.
-- reason: Why, in the rule's words.
-- accuracy: Whether the flag was right, as it was known when it was raised.
-- created_at: When the event happened, in milliseconds since 1970.
-- updated_at: The same time.
WITH every AS (
  SELECT seq, "user", account FROM saving
  UNION ALL
  SELECT seq, "user", account FROM withdrawal
)
SELECT
  every."user" AS user_id,
  coalesce(every.account, '') AS account_id,
  flags.rule AS rule_label,
  flags.reason,
  flags.accuracy,
  epoch_ms(flags.time) AS created_at,
  epoch_ms(flags.time) AS updated_at
FROM flags
JOIN every ON every.seq = flags.seq
ORDER BY flags.seq, flags.number
