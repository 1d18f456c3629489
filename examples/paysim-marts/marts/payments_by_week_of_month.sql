-- Payments by week of the month: days 1 to 7 are week 1, and so on.
--
-- week: From 1 to 5.
-- payments: How many there were.
-- value: Their value together.
-- frauds: How many of them are fraud.
SELECT (day(day) + 6) // 7 AS week, count(*) AS payments, sum(amount) AS value, count(*) FILTER (is_fraud) AS frauds
FROM payments
GROUP BY week
ORDER BY week
