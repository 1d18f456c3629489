-- Payments by day. Built day by day: only days with new files are made again.
--
-- payments: How many there were.
-- value: Their value together.
-- day: In UTC.
SELECT date AS day, count(*) AS payments, sum(amount) AS value
FROM payment
GROUP BY date
ORDER BY date
