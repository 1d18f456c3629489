-- Savings and withdrawals.
--
-- user_id: Whose account it is.
-- account_id: The account; empty where the app named none.
-- transaction_type: SAVING_EVENT or WITHDRAWAL.
-- amount: As it was sent, in units: a rand has 10 000.
-- unit: What the amount is counted in.
-- currency: The currency.
-- time_transaction_occurred: When it happened, in milliseconds since 1970.
-- created_at: The same time: the lake has no other.
-- updated_at: The same time: an event never changes.
WITH every AS (
  SELECT seq, "user", account, 'SAVING_EVENT' AS transaction_type, amount, exact_amount, epoch_ms(time) AS at_ms
  FROM saving
  UNION ALL
  SELECT seq, "user", account, 'WITHDRAWAL' AS transaction_type, amount, exact_amount, epoch_ms(time) AS at_ms
  FROM withdrawal
)
SELECT
  "user" AS user_id,
  coalesce(account, '') AS account_id,
  transaction_type,
  coalesce(CAST(exact_amount * 10000 AS BIGINT), CAST(amount * 10000 AS BIGINT)) AS amount,
  'HUNDREDTH_CENT' AS unit,
  'ZAR' AS currency,
  at_ms AS time_transaction_occurred,
  at_ms AS created_at,
  at_ms AS updated_at
FROM every
ORDER BY seq
