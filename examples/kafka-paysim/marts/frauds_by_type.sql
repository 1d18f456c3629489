-- Payments and their frauds by type, by the last label of each payment in the lake.
--
-- type: PAYMENT, CASH_OUT, CASH_IN, TRANSFER or DEBIT.
-- payments: Number of payments.
-- value: Their total value.
-- frauds: Payments whose last label says fraud.
WITH last_labels AS (
  SELECT substr(event, length('payment/') + 1) AS payment_id, arg_max(verdict, seq) AS verdict
  FROM labels
  GROUP BY event
)
SELECT payment.type_ AS type, count(*) AS payments, sum(payment.amount) AS value, count(*) FILTER (WHERE last_labels.verdict = 'fraud') AS frauds
FROM payment
LEFT JOIN last_labels ON last_labels.payment_id = payment.payment_id
GROUP BY payment.type_
ORDER BY payment.type_
