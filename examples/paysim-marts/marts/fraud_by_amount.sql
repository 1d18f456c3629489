-- Frauds by amount, in steps of a million.
--
-- range: The same in words.
-- frauds: How many there were.
-- value: Their value together.
-- millions: From this many millions on; 5 has all from five millions on.
SELECT
    least(floor(amount / 1000000)::INTEGER, 5) AS millions,
    CASE WHEN millions = 5 THEN '5 million and more' ELSE concat(millions, ' to ', millions + 1, ' million') END AS range,
    count(*) AS frauds, sum(amount) AS value
FROM payments
WHERE is_fraud
GROUP BY ALL
ORDER BY millions
