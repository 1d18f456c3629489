-- Payments by weekday. PaySim names no date: the first day is the one that events.yaml makes up.
--
-- weekday: Its name.
-- payments: How many there were.
-- value: Their value together.
-- frauds: How many of them are fraud.
-- number: From 1, Monday, to 7, Sunday.
SELECT isodow(day) AS number, dayname(day) AS weekday, count(*) AS payments, sum(amount) AS value, count(*) FILTER (is_fraud) AS frauds
FROM payments
GROUP BY number, weekday
ORDER BY number
