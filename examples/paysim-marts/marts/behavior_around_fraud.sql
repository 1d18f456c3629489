-- What victims and fraudsters did before and after their first fraud, frauds left out.
--
-- payments: How many there were.
-- value: Their value together.
-- customers: Of the role, those with such a payment.
SELECT role, direction, moment, count(DISTINCT customer) AS customers, count(*) AS payments, sum(amount) AS value
FROM around_fraud
GROUP BY role, direction, moment
ORDER BY role, direction, moment DESC
