-- Savings and withdrawals.
--
-- user_id: Whose account it is.
-- account_id: The account; empty where the app named none.
-- transaction_type: SAVING or WITHDRAWAL.
-- amount: As it was sent, in units: a rand has 10 000.
-- unit: What the amount is counted in.
-- currency: The currency.
-- time_transaction_occurred: When it happened.
WITH every AS (
  SELECT lane, seq, "user", account, 'SAVING' AS transaction_type, amount, exact_amount, time FROM saving
  UNION ALL
  SELECT lane, seq, "user", account, 'WITHDRAWAL' AS transaction_type, amount, exact_amount, time FROM withdrawal
)
SELECT
  "user" AS user_id,
  coalesce(account, '') AS account_id,
  transaction_type,
  coalesce(CAST(exact_amount * 10000 AS BIGINT), CAST(amount * 10000 AS BIGINT)) AS amount,
  'HUNDREDTH_CENT' AS unit,
  'ZAR' AS currency,
  time AS time_transaction_occurred
FROM every
ORDER BY lane, seq
