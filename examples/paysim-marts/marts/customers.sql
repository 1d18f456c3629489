-- Customers and merchants, one row each: what they sent and received, and how fraud touched them.
--
-- sent: How many payments it sent, frauds among them.
-- received: How many it received.
-- sent_value: What it sent together.
-- received_value: What it received together.
-- first_day: The day of its first payment.
-- customer: C... a customer, M... a merchant.
-- category: Sender, Receiver, or Transactor where it did both.
-- status: Fraudster: received fraud. Victim: fraud was sent from its account. Suspect: had another payment with a
--   fraudster. Else Not Affiliated.
-- last_day: The day of its last payment, sent or received.
WITH sides AS (
    SELECT payer AS customer, 1 AS sent, 0 AS received, amount AS sent_value, 0 AS received_value, day FROM payments
    UNION ALL
    SELECT payee, 0, 1, 0, amount, day FROM payments
), sums AS (
    SELECT
        customer, sum(sent)::BIGINT AS sent, sum(received)::BIGINT AS received,
        sum(sent_value)::DECIMAL(18, 2) AS sent_value, sum(received_value)::DECIMAL(18, 2) AS received_value,
        min(day) AS first_day, max(day) AS last_day
    FROM sides
    GROUP BY customer
)
SELECT
    *,
    CASE WHEN received = 0 THEN 'Sender' WHEN sent = 0 THEN 'Receiver' ELSE 'Transactor' END AS category,
    CASE
        WHEN customer IN (SELECT customer FROM fraud_receivers) THEN 'Fraudster'
        WHEN customer IN (SELECT customer FROM victims) THEN 'Victim'
        WHEN customer IN (SELECT other FROM dealings) THEN 'Suspect'
        ELSE 'Not Affiliated'
    END AS status
FROM sums
