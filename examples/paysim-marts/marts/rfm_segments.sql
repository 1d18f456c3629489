-- Customers that pay, by RFM segment.
--
-- customers: How many belong to it.
-- value: What they sent together.
-- recency_days: The mean of their recency.
SELECT segment, count(*) AS customers, sum(monetary) AS value, round(avg(recency_days), 1) AS recency_days
FROM rfm
GROUP BY segment
ORDER BY customers DESC, segment
