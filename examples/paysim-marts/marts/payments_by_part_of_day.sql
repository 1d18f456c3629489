-- Payments by part of the day: Night 21 to 5, Morning 5 to 12, Afternoon 12 to 17, Evening 17 to 21.
--
-- part: Night, Morning, Afternoon or Evening.
-- payments: How many there were.
-- value: Their value together.
-- frauds: How many of them are fraud.
SELECT
    CASE WHEN hour < 5 OR hour >= 21 THEN 'Night' WHEN hour < 12 THEN 'Morning' WHEN hour < 17 THEN 'Afternoon' ELSE 'Evening' END AS part,
    count(*) AS payments, sum(amount) AS value, count(*) FILTER (is_fraud) AS frauds
FROM payments
GROUP BY part
ORDER BY list_position(['Night', 'Morning', 'Afternoon', 'Evening'], part)
